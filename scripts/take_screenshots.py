"""Take the pictures of the web page in ``docs/images/web``: each view on a desk and on a phone.

Usage: ``python -m scripts.take_screenshots URL [FOLDER]``. URL is a gateway before a folder with
two models: ``wordnet-32/1``, a copy of ``models/wordnet-32``, and ``wordnet-core-32/1``, a copy
of what ``make run`` leaves in ``runs/demo/bundle``. With FOLDER, every view goes there, at both
widths in both schemes. Needs Chromium, and Pillow to make the files small.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images" / "web"
ASKED = "kind=tails&entity=oslo.n.01&relation=instance_hypernym"
VIEWS = {
    "search": "#/",
    "entity": "#/entity?id=oslo.n.01",
    "answers": f"#/ask?{ASKED}",
    "map": f"#/map?{ASKED}&lit=oslo.n.01",
    "decisions": "#/decisions",
    "compare": f"#/compare?{ASKED}&left=wordnet-32&right=wordnet-core-32",
}
_SETTLE_MS = 2500


def take(browser: Browser, url: str, width: int, scheme: str, folder: Path) -> None:
    """Take every view at one width and colour scheme."""
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_default_timeout(60_000)
    for name, view in VIEWS.items():
        page.goto("about:blank")
        page.goto(url + view, wait_until="commit")
        page.wait_for_selector("h1")
        page.wait_for_timeout(_SETTLE_MS)
        if name == "search":
            page.get_by_role("combobox", name="Entity").fill("oslo")
            page.wait_for_selector("[role=option]")
        if name == "answers":
            for button in page.get_by_role("button", name="Accept").all()[:2]:
                button.click()
            page.get_by_role("button", name="Why").first.click()
            page.wait_for_selector(".why")
        target = folder / f"{name}-{width}-{scheme}.png"
        page.screenshot(path=target, full_page=name != "search")
        Image.open(target).convert("RGB").quantize(64).save(target, optimize=True)


def main(url: str, other: str | None = None) -> None:
    """Take all pictures."""
    folder = FOLDER if other is None else Path(other)
    folder.mkdir(parents=True, exist_ok=True)
    shown = [(1280, "light"), (390, "dark")]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--enable-unsafe-swiftshader"],
        )
        for width, scheme in shown if other is None else [*shown, (1280, "dark"), (390, "light")]:
            take(browser, url, width, scheme, folder)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
