"""What a newcomer reads is true: commands run, links lead somewhere, figures are the bundles'."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mulde.graph.graph import read_folder
from tests.contract.test_training_cli import write_recipe
from tests.contract.walkthrough import ROOT, walk
from tests.support.tiny import tiny_recipe, triples, write_split
from training.export.export import export
from training.recipe import Recipe
from training.recipe_file import read_recipe
from training.train import stages, train_stage

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BUNDLES = sorted(path.parent for path in (ROOT / "models").glob("[!.]*/manifest.json"))
PAPER = sorted((ROOT / "models" / "recipes" / "paper").glob("*.toml"))
WORDNET = ROOT / "data" / "wordnet-core"
RECIPE = ROOT / "models" / "recipes" / "best" / "wordnet-core-32.toml"


def hasty_bundle(folder: Path) -> None:
    """What ``make run`` leaves behind, after one epoch and without teachers."""
    recipe, graph = read_recipe(RECIPE), read_folder(WORDNET)
    hasty = replace(recipe.junior_training, epochs=1, warmup=0.0)
    baseline = stages(replace(recipe, junior_training=hasty), folder)[-1]
    best = train_stage(baseline, recipe, graph, torch.device("cpu"))
    export(best, WORDNET, folder / "bundle", recipe=RECIPE)


def test_the_badges_say_what_the_package_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    badges = ROOT / "docs" / "images" / "badges"
    expected = {
        "python": f"Python: {' | '.join(named)}",
        "licence": f"licence: {project['license']}",
    }
    for name, words in expected.items():
        assert f"<title>{words}</title>" in (badges / f"{name}.svg").read_text("utf-8")


@pytest.mark.timeout(600)
def test_every_command_of_the_readme_runs(tmp_path: Path) -> None:
    hasty_bundle(tmp_path / "runs" / "demo")
    write_split(tmp_path, "facts", triples())
    (tmp_path / "facts.txt").rename(tmp_path / "facts.tsv")
    write_recipe(tmp_path / "recipe.toml", tiny_recipe())
    for shown in walk(ROOT / "README.md", tmp_path):
        assert shown.missing() is None


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings, as code hosts spell them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_names_every_page() -> None:
    docs = ROOT / "docs"
    for folder in (docs, docs / "decisions"):
        text = (folder / "README.md").read_text("utf-8")
        named = {(folder / name).resolve() for name in re.findall(r"\]\(([\w./-]+)\)", text)}
        pages = {page.resolve() for page in PAGES if folder in page.parents}
        if folder == docs:
            pages = {page for page in pages if docs / "decisions" not in page.parents}
        assert {page for page in pages if page.name != "README.md"} <= named


def table(page: Path, first_column: str) -> list[list[str]]:
    """Rows of the one table with that first heading, without the heading."""
    lines = page.read_text("utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def bundle_row(folder: Path) -> str:
    """How the README shows a bundle: the line to paste."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    alone, new_facts = (manifest[of]["test"]["total"] for of in ("scorer_quality", "quality"))
    size = sum(path.stat().st_size for path in folder.iterdir())
    text = f" + {manifest['text']}, with text" if manifest["text"] else ""
    cells = [
        f"[{folder.name}](models/{folder.name}/card.md)",
        f"{manifest['dimension']}{text}",
        *(f"{of[key]:.4f}" for of in (alone, new_facts) for key in ("mrr", "hits@10")),
        f"{size / 1e6:.1f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def test_the_readme_shows_the_bundles_that_come_with_it() -> None:
    shown = [f"| {' | '.join(row)} |" for row in table(ROOT / "README.md", "bundle")]
    assert shown == [bundle_row(folder) for folder in BUNDLES]


def value(recipe: Recipe, key: str) -> set[Any]:
    """The value of a key such as ``junior.scorer``; of each teacher for ``teachers.``."""
    part, _, name = key.partition(".")
    found = getattr(recipe, part)
    return {getattr(one, name) for one in found} if part == "teachers" else {getattr(found, name)}


def number_or_word(text: str) -> float | str:
    return float(text) if text[0].isdigit() else text


def settings() -> list[tuple[str, str, str]]:
    """(what, value, key) of the paper's settings in docs/explanation/method.md."""
    rows = table(ROOT / "docs" / "explanation" / "method.md", "setting")
    return [(what, shown, key.strip("`")) for what, shown, key in rows]


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_recipes_of_the_paper_have_the_settings_that_the_page_names(path: Path) -> None:
    recipe = read_recipe(path)
    other = {"wn18rr-32": "FB15k-237", "fb15k-237-32": "WN18RR"}[path.stem]
    named = [(shown, key) for what, shown, key in settings() if other not in what]
    assert len(named) == len(settings()) - 1
    for shown, key in named:
        assert value(recipe, key) == set(map(number_or_word, shown.split(", "))), key
