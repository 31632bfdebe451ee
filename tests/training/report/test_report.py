"""The report: what it shows, what it says that it cannot show, and hostile labels."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mulde.bundle.bundle import open_bundle
from mulde.cli import app
from mulde.errors import BundleError
from mulde.graph.graph import Graph, read_folder
from tests.support.runs import CPU, recipe_of
from tests.support.tiny import triples, write_split
from training.export.export import export
from training.recipe_file import to_toml
from training.report.precisions import measure_precisions
from training.report.report import write_report
from training.train import stages, train_stage

HOSTILE = "<script>alert(1)</script>\"'&\u202e"
SECTIONS = (
    "Quality",
    "Training",
    "What each model is good at",
    "Quality by relation",
    "Quality by degree of the answer",
    "Probabilities",
    "Size and accuracy",
    "The graph",
)


class Page(HTMLParser):
    """Headings and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny graph with a hostile label for an entity and for a relation."""
    folder = tmp_path_factory.mktemp("report") / "tiny"
    folder.mkdir()
    facts = triples()
    write_split(folder, "train", facts[20:])
    write_split(folder, "valid", facts[:10])
    write_split(folder, "test", facts[10:20])
    (folder / "labels.tsv").write_text(f"e05\t{HOSTILE}\n", encoding="utf-8")
    (folder / "relation_labels.tsv").write_text(f"next\t{HOSTILE}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, recipe = tmp_path_factory.mktemp("runs") / "tiny", recipe_of()
    graph: Graph = read_folder(data)
    for stage in stages(recipe, folder):
        train_stage(stage, recipe, graph, CPU)
    (folder / "recipe.toml").write_text(to_toml(recipe, "tiny"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bundle(data: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    export(run / "junior" / "best.pt", data, out)
    return out


def test_an_exported_bundle_has_rules(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.rules is not None
    assert len(opened.rules) > 0


def test_the_page_has_every_section_and_makes_no_request(
    bundle: Path, data: Path, run: Path, tmp_path: Path
) -> None:
    write_report(bundle, tmp_path / "report.html", data=data, run=run)
    text = (tmp_path / "report.html").read_text("utf-8")
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert set(SECTIONS) <= set(headings)
    assert {"Right answers", "Wrong answers"} & set(headings)
    page = Page(text)
    assert page.links == []
    assert "script" not in page.tags
    assert page.tags.count("svg") == 2
    assert "url(" not in text
    for name in ("teacher 1 RotH", "teacher 2 TransH", "junior", "baseline"):
        assert name in text


def test_the_table_is_also_measured_as_it_would_be_coarser(bundle: Path, data: Path) -> None:
    graph = read_folder(data)
    stored, *coarser = measure_precisions(bundle, graph, lambda step: None)
    assert [stored.name, *(one.name for one in coarser)] == ["fp16", "int8", "int4"]
    assert stored.bytes > coarser[0].bytes > coarser[1].bytes
    total = open_bundle(bundle).manifest.quality["test"]["total"]
    assert stored.mrr == pytest.approx(total["mrr"], abs=1e-6)
    assert abs(coarser[0].mrr - stored.mrr) < 0.02
    write_report(bundle, bundle.parent / "report.html", data=data)
    text = (bundle.parent / "report.html").read_text("utf-8")
    assert all(f"{one.name}, {one.bytes / 1e6:.2f} MB" in text for one in coarser)


def test_labels_are_never_markup(bundle: Path, data: Path, run: Path, tmp_path: Path) -> None:
    write_report(bundle, tmp_path / "report.html", data=data, run=run)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "&lt;script&gt;alert(1)" in text
    assert "\u202e" not in text


def test_the_figures_are_those_of_the_manifest(bundle: Path, tmp_path: Path) -> None:
    write_report(bundle, tmp_path / "report.html")
    total = open_bundle(bundle).manifest.quality["test"]["total"]
    text = (tmp_path / "report.html").read_text("utf-8")
    assert f"new facts, test, total</th><td>{total['mrr']:.4f}</td>" in text


def test_a_bundle_alone_says_what_is_missing(bundle: Path, tmp_path: Path) -> None:
    write_report(bundle, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "need --data" in text
    assert "need --run" in text
    assert "Right answers" not in text


def test_without_examples_no_triple_is_listed(bundle: Path, data: Path, tmp_path: Path) -> None:
    command = ["report", str(bundle), "--data", str(data), "--no-examples"]
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "report.html")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "Examples were left out" in text
    assert not re.search(r"e\d\d →", text)


def test_another_graph_is_refused(bundle: Path, graph_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="of another graph"):
        write_report(bundle, tmp_path / "report.html", data=graph_folder)
    assert not (tmp_path / "report.html").exists()
