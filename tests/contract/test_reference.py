"""The generated reference pages are those of the code."""

from __future__ import annotations

import pytest

from scripts import generate_openapi
from scripts import generate_reference as reference


@pytest.mark.parametrize("name", list(reference.PAGES))
def test_the_page_is_what_the_code_says(name: str) -> None:
    """If this fails: python scripts/generate_reference.py."""
    assert (reference.FOLDER / name).read_text("utf-8") == reference.PAGES[name]()


def test_every_file_says_in_its_first_line_what_it_is_for() -> None:
    rows = [row for row in reference.files().splitlines() if row.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_openapi_document_is_that_of_the_contract() -> None:
    """If this fails: python scripts/generate_openapi.py."""
    assert generate_openapi.TARGET.read_text("utf-8") == generate_openapi.render()
