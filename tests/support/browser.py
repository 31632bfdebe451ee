"""A real Chromium, as the system has it; tests that need one are skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
expect.set_options(timeout=30_000)
FLAGS = ["--no-sandbox", "--disable-gpu-sandbox", "--enable-unsafe-swiftshader"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, until the end of the block."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def open_page(browser: Browser, url: str, width: int = 1280, dark: bool = False) -> Page:
    """A page of a fresh profile that has loaded."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        accept_downloads=True,
    )
    context.set_default_timeout(40_000)
    page = context.new_page()
    page.goto(url, wait_until="commit")
    page.wait_for_selector("h1")
    return page


def faults_of(page: Page) -> list[str]:
    """A list that collects what the page throws, logs as an error, or shows as a dialog."""
    faults: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        faults.append(dialog.message)
        dialog.dismiss()

    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", dismiss)
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    return faults
