"""The page before a server that leaves, swaps its model, or ends a token; and hostile names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, expect

from tests.support.browser import faults_of, open_page
from tests.support.gateway import gateway
from tests.support.hostile import DESCRIBED, hostile_bundle
from tests.support.server import server
from tests.support.toy import Toy, toy_bundle

ASK = "#/ask?kind=tails&entity=Q0000003&relation=P1"


def test_a_server_that_leaves_is_told_and_the_page_recovers(
    browser: Browser, served_toy: Toy, tmp_path: Path
) -> None:
    with server(served_toy.path, log=tmp_path / "first") as first, gateway(first.address) as web:
        page = open_page(browser, web.url)
        first.terminate()
        page.goto(web.url + ASK)
        expect(page.locator("#notice")).to_contain_text("The server is away")
        again = ("--grpc-port", str(first.ready["grpc_port"]))
        with server(served_toy.path, *again, log=tmp_path / "second"):
            expect(page.locator("table.answers tbody tr")).to_have_count(10, timeout=30_000)
            expect(page.locator("#notice")).to_be_empty()


def test_a_model_that_is_swapped_is_told(browser: Browser, tmp_path: Path) -> None:
    models = tmp_path / "models" / "toy"
    toy_bundle(models / "1", seed=1, version="1")
    tokens = tmp_path / "tokens"
    tokens.write_text("admin secret-of-an-admin-1234\n")
    tokens.chmod(0o600)
    flags = ("--api-key-file", str(tokens))
    with server(models.parent, *flags, log=tmp_path / "log") as one, gateway(one.address) as web:
        page = open_page(browser, web.url)
        page.get_by_label("Token").fill("secret-of-an-admin-1234")
        page.get_by_role("button", name="Use it").click()
        page.goto(web.url + ASK)
        expect(page.locator("caption")).to_contain_text("toy/1")
        toy_bundle(models / "2", seed=2, version="2")
        status, _ = web.post("/v1/ReloadModel", {}, authorization="Bearer secret-of-an-admin-1234")
        assert status == 200
        page.goto(web.url + ASK.replace("P1", "P2"))
        expect(page.locator("caption")).to_contain_text("toy/2")
        expect(page.locator("#notice")).to_contain_text("version 2 answers now, before it was 1")


def test_a_token_that_ends_is_asked_for_again(
    browser: Browser, served_toy: Toy, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("read secret-of-a-reader-1234\n")
    tokens.chmod(0o600)
    flags = ("--api-key-file", str(tokens))
    with server(served_toy.path, *flags, log=tmp_path / "log") as one, gateway(one.address) as web:
        page = open_page(browser, web.url)
        expect(page.locator("#notice")).to_contain_text("This server asks for a token")
        page.get_by_label("Token").fill("secret-of-a-reader-1234")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("combobox", name="Entity")).to_be_visible()
        tokens.write_text("read secret-of-another-5678\n")
        for _ in range(100):
            page.reload()
            if page.locator("#notice").get_by_text("not valid, or it has ended").count():
                break
            page.wait_for_timeout(200)
        page.get_by_label("Token").fill("secret-of-another-5678")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("combobox", name="Entity")).to_be_visible()


def test_hostile_names_are_shown_and_never_obeyed(browser: Browser, tmp_path: Path) -> None:
    toy = hostile_bundle(tmp_path / "toy")
    with server(toy.path, log=tmp_path / "log") as one, gateway(one.address) as web:
        page = open_page(browser, web.url)
        faults = faults_of(page)
        for typed in ("<script>", "<img", "A" * 200, "\u202e"):
            page.get_by_role("combobox", name="Entity").fill(typed)
            page.wait_for_timeout(300)
        page.goto(
            f"{web.url}#/entity?id=%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
        )
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text("<script>alert(1)</script><img src=x onerror=alert(1)>")
        described = page.locator("p.description")
        expect(described).to_have_text("<script>alert(1)</script><img src=x onerror=alert(1)>")
        for name, shown in (("\u202egpj.exe\u2066\u200f", "gpj"), (DESCRIBED, "DDD")):
            page.goto(f"{web.url}#/entity?id={quote(name)}")
            expect(described).to_contain_text(shown)
            assert len(described.inner_text()) < 2100
            assert described.locator("bdi").count() == 1
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Ask").click()
        rows = page.locator("table.answers tbody tr")
        expect(rows.first).to_be_visible()
        assert page.locator("main img, main script, main iframe").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        longest = max(len(text) for text in rows.locator("td:nth-child(2)").all_inner_texts())
        assert longest < 1000
        assert faults == []


def test_an_entity_without_facts_says_so(browser: Browser, tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy", known=False)
    with server(bundle.path, log=tmp_path / "log") as one, gateway(one.address) as web:
        page = open_page(browser, f"{web.url}#/entity?id=Q0000003")
        expect(page.get_by_text("exported without its facts")).to_be_visible()


def test_an_unknown_entity_is_a_problem_with_near_names(
    browser: Browser, served_toy: Toy, tmp_path: Path
) -> None:
    with server(served_toy.path, log=tmp_path / "log") as one, gateway(one.address) as web:
        page = open_page(browser, f"{web.url}#/entity?id=thing+1200")
        expect(page.get_by_role("alert")).to_contain_text("Nearest names")
