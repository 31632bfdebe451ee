"""axe-core finds nothing wrong with any view, light and dark, on a phone and on a desk."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.support.browser import open_page
from tests.support.gateway import GatewayProcess

VIEWS = {
    "search": "",
    "card": "#/entity?id=Q0000012",
    "answers": "#/ask?kind=tails&entity=Q0000012&relation=P1&known=1",
    "relations": "#/ask?kind=relations&entity=Q0000012&other=Q0000040",
    "compare": "#/compare",
    "map": "#/map",
    "decisions": "#/decisions",
    "problem": "#/entity?id=nothing",
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_no_violation(browser: Browser, web: GatewayProcess, view: str) -> None:
    page = open_page(browser, web.url + VIEWS[view])
    page.wait_for_load_state("networkidle")
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
