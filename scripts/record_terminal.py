"""Record ``docs/images/terminal.gif``: commands as they are typed, and what they really print.

Usage: ``python -m scripts.record_terminal``. A server of ``models/wordnet-32`` runs meanwhile on
the default port. Needs Pillow, and matplotlib for its font.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "images" / "terminal.gif"
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSansMono.ttf")
COLUMNS, LINES, SIZE_PX, LINE_PX, MARGIN_PX = 84, 26, 14, 18, 12
PAPER, INK, PROMPT = (20, 24, 29), (230, 233, 236), (127, 215, 155)
SERVE = "mulde serve models/wordnet-32"
ASK = (
    "mulde query lion.n.01 hypernym -k 4",
    "mulde explain lion.n.01 hypernym feline.n.01",
)
KEY_MS, SHOWN_MS, END_MS, KEYS = 90, 2600, 5000, 3


def main() -> None:
    """Run the commands and write the pictures."""
    process = subprocess.Popen(_words(SERVE), env=_environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        outputs = {f"{SERVE} &": process.stdout.readline()}
        for command in ASK:
            done = subprocess.run(
                _words(command), env=_environment(), check=True, capture_output=True, text=True
            )
            outputs[command] = done.stdout
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
    shown = list(frames(outputs))
    pictures = [picture(text) for text, _ in shown]
    times = [*(ms for _, ms in shown[:-1]), END_MS]
    first, *rest = pictures
    first.save(TARGET, save_all=True, append_images=rest, duration=times, loop=0, optimize=True)


def _words(command: str) -> list[str]:
    return [sys.executable, "-m", "mulde.cli", *shlex.split(command)[1:]]


def _environment() -> dict[str, str]:
    # Lines of the log go to stderr and are not recorded.
    return {**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1"}


def frames(outputs: dict[str, str]) -> Iterator[tuple[list[str], int]]:
    """What the screen holds, and for how many milliseconds."""
    before: list[str] = []
    for command, output in outputs.items():
        for end in range(0, len(command) + 1, KEYS):
            yield [*before, f"$ {command[:end]}\u2588"], KEY_MS
        before += [f"$ {command}", *_folded(output), ""]
        yield [*before, "$ \u2588"], SHOWN_MS


def _folded(output: str) -> list[str]:
    """The lines of an output, broken where the terminal would."""
    lines = output.rstrip().splitlines()
    return [line[i : i + COLUMNS] for line in lines for i in range(0, len(line) or 1, COLUMNS)]


def picture(lines: list[str]) -> Image.Image:
    """The last lines of a screen, in a palette of few colours."""
    size = (COLUMNS * 17 // 2 + 2 * MARGIN_PX, LINES * LINE_PX + 2 * MARGIN_PX)
    image = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(str(FONT), SIZE_PX)
    for row, line in enumerate(lines[-LINES:]):
        colour = PROMPT if line.startswith("$ ") else INK
        draw.text((MARGIN_PX, MARGIN_PX + row * LINE_PX), line, fill=colour, font=font)
    return image.quantize(16, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
