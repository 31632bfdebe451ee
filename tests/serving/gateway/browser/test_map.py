"""The map in a real browser: drawn, moved, lit up, clicked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import faults_of, open_page
from tests.support.gateway import GatewayProcess, gateway
from tests.support.server import server
from tests.support.toy import toy_bundle
from training.export.entity_map import add_map

INK = """() => {
  const canvas = document.querySelector("canvas"), gl = canvas.getContext("webgl2");
  canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  const { drawingBufferWidth: width, drawingBufferHeight: height } = gl;
  const pixels = new Uint8Array(4 * width * height);
  return new Promise((done) => requestAnimationFrame(() => {
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    let inked = 0;
    for (let at = 3; at < pixels.length; at += 4) inked += pixels[at] > 0;
    done(inked);
  }));
}"""


FRAMES = """async (count) => {
  const { Disk } = await import("./disk.js");
  const canvas = document.createElement("canvas");
  document.body.append(canvas);
  const x = new Int16Array(count), y = new Int16Array(count);
  for (let i = 0; i < count; i++) {
    const far = 32000 * Math.sqrt(Math.random()), angle = 2 * Math.PI * Math.random();
    x[i] = far * Math.cos(angle);
    y[i] = far * Math.sin(angle);
  }
  const weights = new Uint8Array(count).fill(30), groups = Uint8Array.from(x, (_, i) => i % 11);
  const disk = new Disk(canvas, { x, y, groups, weights, order: Uint32Array.from(x.keys()) });
  disk.draw();
  const seen = { frames: 20, drawArrays: 0, bufferData: 0, getUniformLocation: 0 }, times = [];
  for (const name of ["drawArrays", "bufferData", "getUniformLocation"]) {
    const own = disk.gl[name].bind(disk.gl);
    disk.gl[name] = (...given) => { seen[name]++; return own(...given); };
  }
  for (let frame = 0; frame < seen.frames; frame++) {
    await new Promise(requestAnimationFrame);
    const begun = performance.now();
    disk.move([0, 0], [0.01, 0]);
    disk.draw();
    times.push(performance.now() - begun);
  }
  seen.median_ms = times.sort((one, other) => one - other)[seen.frames / 2];
  seen.p95_ms = times[Math.floor(seen.frames * 0.95)];
  return seen;
}"""


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("map")
    add_map(toy_bundle(folder / "toy", entities=400).path, folder / "mapped")
    with server(folder / "mapped", log=folder / "log") as one, gateway(one.address) as web:
        yield web


def labels(page: Page) -> list[str]:
    expect(page.locator(".labels span").first).to_be_visible()
    return page.locator(".labels span").all_inner_texts()


def test_the_map_is_drawn_with_labels_and_a_legend(
    browser: Browser, mapped: GatewayProcess
) -> None:
    page = open_page(browser, f"{mapped.url}#/map")
    faults = faults_of(page)
    assert 10 < len(labels(page)) <= 40
    assert page.evaluate(INK) > 400
    expect(page.locator(".legend li")).to_have_count(7)
    expect(page.get_by_text("rank correlation of distances")).to_be_visible()
    assert faults == []


def test_zooming_shows_other_labels(browser: Browser, mapped: GatewayProcess) -> None:
    page = open_page(browser, f"{mapped.url}#/map")
    before = labels(page)
    for _ in range(6):
        page.locator("canvas").press("+")
    page.wait_for_timeout(600)
    assert set(labels(page)) != set(before)


def test_answers_are_lit_up_and_the_entity_is_in_the_middle(
    browser: Browser, mapped: GatewayProcess
) -> None:
    page = open_page(
        browser, f"{mapped.url}#/map?kind=tails&entity=Q0000007&relation=P1&lit=Q0000007"
    )
    expect(page.locator(".labels .lit", has_text="thing 7").first).to_be_visible()
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.get_by_role("heading", level=1)).to_have_text("thing 7")


def test_frames_send_no_points_and_take_little_of_the_processor(
    browser: Browser, mapped: GatewayProcess
) -> None:
    page = open_page(browser, mapped.url)
    seen = page.evaluate(FRAMES, 10_000)
    assert seen["drawArrays"] == seen["frames"]
    assert seen["bufferData"] == seen["getUniformLocation"] == 0
    assert seen["median_ms"] < 4, "the share of a frame of 16.7 ms that is the page's own"


def test_a_model_without_a_map_says_how_to_get_one(browser: Browser, web: GatewayProcess) -> None:
    page = open_page(browser, f"{web.url}#/map")
    expect(page.get_by_role("alert")).to_contain_text("mulde map")
