"""The generated reference pages are those of the code."""

from __future__ import annotations

import pytest

from scripts.generate import client, openapi, reference


@pytest.mark.parametrize("name", list(reference.PAGES))
def test_the_page_is_what_the_code_says(name: str) -> None:
    """If this fails: python scripts/generate/reference.py."""
    assert (reference.FOLDER / name).read_text("utf-8") == reference.PAGES[name]()


def test_every_file_says_in_its_first_line_what_it_is_for() -> None:
    rows = [row for row in reference.files().splitlines() if row.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_openapi_document_is_that_of_the_contract() -> None:
    """If this fails: python scripts/generate/openapi.py."""
    assert openapi.TARGET.read_text("utf-8") == openapi.render()


@pytest.mark.parametrize("name", list(client.FILES))
def test_the_client_that_waits_is_made_from_the_one_for_asyncio(name: str) -> None:
    """If this fails: python -m scripts.generate.client."""
    assert (client.FOLDER / name).read_text("utf-8") == client.render(name)
