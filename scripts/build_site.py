"""Build the documentation site: ``make docs``.

Pages link to each other by relative path, in the repository as on the site. So all pages, and the
files that they show, are copied to one folder in the same places, and MkDocs reads that. The
navigation is docs/README.md: a section for each heading, a page for each row of its table.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.notebook_page import notebook_page

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "build" / "site-source"
INDEX = Path("docs/README.md")
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "docs/**/*.md",
    "docs/**/*.ipynb",
    "docs/images/**/*",
    "benchmarks/*.md",
    "benchmarks/*.svg",
    "models/*/card.md",
    "data/*/README.md",
    "data/*/LICENSE",
)
LINK = re.compile(r"\[([^\]]+)\]\(([\w./-]+\.(?:md|ipynb))\)")

FENCE = re.compile(r"^(```\w+) [a-z ]+$", re.MULTILINE)
"""A code block with words for the tests that run it."""

QUIET = {"NO_MKDOCS_2_WARNING": "1"}
"""No advertisement of another program in the log."""

Nav = list[dict[str, object]]


def main() -> int:
    """Copy the pages and build the site from them; a warning is an error."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for pattern in PAGES:
        for path in sorted(filter(Path.is_file, ROOT.glob(pattern))):
            copy(path.relative_to(ROOT))
    config = SOURCE.parent / "mkdocs.yml"
    config.write_text(json.dumps({"INHERIT": "../mkdocs.yml", "nav": navigation()}), "utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file"]
    return subprocess.run([*command, config], env={**os.environ, **QUIET}).returncode


def copy(page: Path) -> None:
    """Copy one file to the same place; a notebook becomes a page."""
    target = SOURCE / page
    target.parent.mkdir(parents=True, exist_ok=True)
    if page.suffix == ".ipynb":
        as_page(target).write_text(notebook_page(ROOT / page), encoding="utf-8")
    elif page.suffix == ".md":
        text = (ROOT / page).read_text("utf-8").replace(".ipynb)", ".md)")
        target.write_text(FENCE.sub(r"\1", text), encoding="utf-8")
    else:
        shutil.copy(ROOT / page, target)


def as_page(path: Path) -> Path:
    """The page that a file becomes: a notebook's has another suffix."""
    return path.with_suffix(".md") if path.suffix == ".ipynb" else path


def navigation() -> Nav:
    """Sections and pages in the order of docs/README.md."""
    nav: Nav = [{"Home": [{"mulde": "README.md"}, {"All pages": INDEX.as_posix()}]}]
    for section in (ROOT / INDEX).read_text("utf-8").split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        pages = [entry(title, INDEX.parent / name) for title, name in LINK.findall(text)]
        if heading == "Benchmarks":
            pages += [{page.stem: f"benchmarks/{page.name}"} for page in unlisted_figures(text)]
        nav.append({heading: pages})
    cards = sorted(ROOT.glob("models/*/card.md"))
    nav.append({"Models": [{card.parent.name: str(card.relative_to(ROOT))} for card in cards]})
    project = ("CHANGELOG", "CONTRIBUTING", "SECURITY")
    nav.append({"Project": [{name.title(): f"{name}.md"} for name in project]})
    return nav


def unlisted_figures(text: str) -> list[Path]:
    """Pages of benchmarks that the text does not link to, such as one that was just made."""
    pages = sorted((ROOT / "benchmarks").glob("*.md"))
    return [page for page in pages if f"benchmarks/{page.name})" not in text]


def entry(title: str, page: Path) -> dict[str, object]:
    """One page; a README of a folder stands for all pages of the folder."""
    place = Path(*resolved(page))
    if place.name != "README.md":
        return {title: as_page(place).as_posix()}
    rows = LINK.findall((ROOT / place).read_text("utf-8"))
    inside = [name for _, name in rows if "/" not in name]
    return {title: [place.as_posix(), *(str(place.parent / name) for name in inside)]}


def resolved(page: Path) -> tuple[str, ...]:
    """The parts of a path from the root, without ``..``."""
    return (ROOT / page).resolve().relative_to(ROOT).parts


if __name__ == "__main__":
    sys.exit(main())
