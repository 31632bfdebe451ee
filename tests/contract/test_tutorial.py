"""The tutorial does what it says, and the means to tell can tell."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.contract.walkthrough import ROOT, Block, Shown, blocks, walk
from tests.support.server import environment

FOLDER = ROOT / "docs" / "getting-started"
PAGE = FOLDER / "tutorial.md"


@pytest.mark.timeout(900)
def test_every_command_of_the_tutorial_runs_and_prints_what_is_shown(tmp_path: Path) -> None:
    shown = list(walk(PAGE, tmp_path))
    wrong = {f"{PAGE.name}:{one.block.line}": one.missing() for one in shown if one.missing()}
    assert not wrong
    assert len(shown) == sum(block.language == "text" for block in blocks(PAGE)) > 8


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("page", "left"), [("own-graph.md", "bundles/copy/manifest.json"), ("from-rdf.md", "new.nt")]
)
def test_every_command_of_a_short_tutorial_runs(page: str, left: str, tmp_path: Path) -> None:
    list(walk(FOLDER / page, tmp_path))
    assert (tmp_path / left).is_file()


@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("pykeen") is None, reason="needs pykeen")
def test_every_command_of_the_pykeen_tutorial_runs(tmp_path: Path) -> None:
    list(walk(FOLDER / "from-pykeen.md", tmp_path))
    assert (tmp_path / "bundles/lines-16/manifest.json").is_file()


def shown(notebook: Path) -> list[list[str]]:
    """By code cell: the forms of what it shows, such as image/png."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return [
        [form for output in cell["outputs"] for form in output.get("data", {"text": ""})]
        for cell in cells
        if cell["cell_type"] == "code"
    ]


@pytest.mark.timeout(900)
def test_every_cell_of_the_notebook_runs_and_shows_what_is_stored(tmp_path: Path) -> None:
    stored, again = FOLDER / "from-a-dataframe.ipynb", tmp_path / "again.ipynb"
    text = stored.read_text("utf-8")
    assert "minutes=1)" in text
    again.write_text(text.replace("minutes=1)", "minutes=0.2)"), encoding="utf-8")
    command = [sys.executable, "-m", "scripts.run_notebook", str(again)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert shown(again) == shown(stored)
    assert sum("image/png" in forms for forms in shown(again)) == 2


@pytest.mark.parametrize(
    ("options", "text", "missing"),
    [
        ("", "one 1.5\ntwo │ 3\n", None),
        ("", "one 7\n...\ntwo 12%\n", None),
        ("", "two 3\none 1\n", "one 1"),
        ("", "one 1\nthree\n", "three"),
        (" varies", "one 9\nthree\n", None),
        (" varies", "three\none 1\n", "three"),
    ],
)
def test_an_output_is_compared_line_by_line_numbers_aside(
    options: str, text: str, missing: str | None
) -> None:
    block = Block("text", options, text, line=1, file=None)
    assert Shown(block, "one 2\n\n  two │    4 │\n").missing() == missing


def test_a_command_that_fails_is_named_with_its_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Say:\n\n```sh\nfalse\necho never\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"page\.md:3: false"):
        list(walk(page, tmp_path))
