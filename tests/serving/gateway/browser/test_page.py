"""A curator's way through the page, in a real browser before a real server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from mulde.client import Client
from tests.support.browser import faults_of, open_page
from tests.support.gateway import GatewayProcess, gateway
from tests.support.server import server
from tests.support.toy import Toy, toy_bundle


def find(page: Page, text: str) -> None:
    """Type a name, and take the first completion with the keyboard alone."""
    page.get_by_role("combobox", name="Entity").fill(text)
    expect(page.locator("[role=option]").first).to_contain_text(text)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")


def test_search_ask_accept_and_export(
    browser: Browser, web: GatewayProcess, client: Client
) -> None:
    page = open_page(browser, web.url)
    faults = faults_of(page)
    find(page, "thing 12")
    expect(page.get_by_role("heading", level=1)).to_have_text("thing 12")
    expect(page.get_by_role("heading", name="Known facts")).to_be_visible()
    page.get_by_role("combobox", name="Relation").select_option("P1")
    page.get_by_role("button", name="Ask").click()
    answers = client.predict_tails("Q0000012", "P1")[0]
    shown = page.locator("table.answers tbody tr")
    expect(shown).to_have_count(10)
    assert shown.locator("td:nth-child(2) a").all_inner_texts() == [one.label for one in answers]
    expect(page.get_by_role("heading", level=1)).to_have_text("thing 12 → relation 1 → ?")

    accept = page.get_by_role("button", name=f"Accept {answers[0].label}", exact=True)
    accept.click()
    expect(accept).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name=f"Reject {answers[1].label}", exact=True).click()
    page.get_by_role("link", name="Decisions (2)").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export accepted").click()
    assert Path(download.value.path()).read_text("utf-8") == f"Q0000012\tP1\t{answers[0].id}\n"
    page.reload()
    expect(page.get_by_role("cell", name="rejected")).to_be_visible()
    assert faults == []


def test_answers_are_clicked_through_and_back(browser: Browser, web: GatewayProcess) -> None:
    page = open_page(browser, f"{web.url}#/ask?kind=heads&entity=Q0000005&relation=P2")
    first = page.locator("table.answers tbody a").first
    name = first.inner_text()
    first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("? → relation 2 → thing 5")


def test_known_facts_are_listed(browser: Browser, web: GatewayProcess, served_toy: Toy) -> None:
    head, relation, tail = served_toy.triples[0].tolist()
    page = open_page(browser, f"{web.url}#/entity?id=Q{head:07d}")
    group = page.locator("details", has_text=f"this → relation {relation} →")
    if group.get_attribute("open") is None:
        group.locator("summary").click()
    expect(group.get_by_role("link", name=f"thing {tail}", exact=True)).to_be_visible()


def test_known_facts_among_the_answers_are_marked(
    browser: Browser, web: GatewayProcess, client: Client
) -> None:
    heads = [f"Q{row:07d}" for row in range(500)]
    answers = client.predict_tails(heads, "P1", k=100, exclude_known=False)
    marked = [sum(bool(one.known) for one in ranked) for ranked in answers]
    head = max(range(len(heads)), key=marked.__getitem__)
    page = open_page(
        browser, f"{web.url}#/ask?kind=tails&entity={heads[head]}&relation=P1&k=100&known=1"
    )
    expect(page.locator("table.answers .badge", has_text="known")).to_have_count(marked[head])
    assert marked[head] > 0


def test_questions_worth_asking_lead_to_answers(browser: Browser, web: GatewayProcess) -> None:
    page = open_page(browser, f"{web.url}#/entity?id=Q0000012")
    page.locator("section", has=page.get_by_role("heading", name="Questions worth asking")).locator(
        "a"
    ).first.click()
    expect(page.locator("table.answers tbody tr").first).to_be_visible()


def test_relations_between_two_entities_are_asked(browser: Browser, web: GatewayProcess) -> None:
    page = open_page(browser, f"{web.url}#/entity?id=Q0000012")
    page.get_by_role("combobox", name="Question").select_option("relations")
    find(page, "thing 40")
    expect(page.locator("table.answers tbody tr")).to_have_count(4)
    expect(page.get_by_role("columnheader", name="plausibility")).to_be_visible()


def test_nothing_is_asked_of_other_hosts(browser: Browser, web: GatewayProcess) -> None:
    page = open_page(browser, web.url)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.reload()
    find(page, "thing 12")
    expect(page.get_by_role("heading", level=1)).to_have_text("thing 12")
    assert hosts == {urlsplit(web.url).netloc}


def test_two_models_are_compared(browser: Browser, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 2)):
        toy_bundle(tmp_path / "models" / name / "1", name=name, seed=seed)
    with (
        server(tmp_path / "models", log=tmp_path / "log") as one,
        gateway(one.address) as web,
    ):
        page = open_page(browser, f"{web.url}#/compare")
        find(page, "thing 12")
        expect(page.locator("table.answers")).to_have_count(2)
        expect(page.get_by_text("answers are in both lists")).to_be_visible()
        names = page.locator("table.answers tbody tr").locator("a:first-child").all_inner_texts()
        left, right = names[:10], names[10:]
        for place, row in enumerate(page.locator("table.answers").first.locator("tbody tr").all()):
            there = f"place {right.index(left[place]) + 1} in" if left[place] in right else "not in"
            expect(row).to_contain_text(f"{there} the other list")
        page.get_by_role("combobox", name="Question").select_option("heads")
        expect(page.get_by_role("heading", level=2).first).to_contain_text("? →")


def test_an_answer_is_explained(browser: Browser, web: GatewayProcess) -> None:
    page = open_page(browser, f"{web.url}#/ask?kind=tails&entity=Q0000012&relation=P1")
    why = page.locator("button[aria-expanded]").first
    why.click()
    expect(page.locator(".why").first).to_contain_text("Known facts like this one:")
    expect(why).to_have_attribute("aria-expanded", "true")
    why.click()
    expect(page.locator(".why")).to_have_count(0)
