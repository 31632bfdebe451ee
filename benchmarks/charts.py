"""How charts look: few series, each named beside its line, one message in the title.

Text is text in the SVG, so that it can be searched and read aloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS, BESIDE, OTHERS = "#0b5fa5", "#c2570c", "#6b7280"
"""Colours of what is ours, of what it is compared with, and of all else; 4.5:1 on white."""

_STYLE: Any = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "svg.fonttype": "none",
}
_GAP = 0.065
"""Between the middles of two names, as a share of the panel's height."""


def figure_of(message: str, width: float, height: float) -> Figure:
    """Return an empty figure with its message on top.

    Args:
        message: a sentence: what the reader should see.
        width: inches.
        height: inches.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(message, x=0.01, ha="left", fontsize=13, fontweight="bold")
    return figure


def panel_of(figure: Figure, place: tuple[int, int, int], title: str = "") -> Axes:
    """Return a new panel at (rows, columns, number), without a frame on its right and top."""
    with mpl.rc_context(_STYLE):
        panel = figure.add_subplot(*place)
        panel.set_title(title)
    panel.grid(axis="y", alpha=0.25)
    return panel


def name_lines(panel: Axes, names: Sequence[tuple[str, float, str]]) -> None:
    """Write (name, value, colour) right of the panel, at the values but never over each other."""
    scale = panel.get_ylim()
    transform = panel.transData + panel.transAxes.inverted()
    heights = [float(transform.transform((panel.get_xlim()[0], one[1]))[1]) for one in names]
    panel.set_ylim(scale)
    for place, (name, _, colour) in zip(_apart(heights), names, strict=True):
        panel.annotate(
            name,
            (1.0, place),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )


def _apart(heights: Sequence[float]) -> list[float]:
    """The heights, those too near to the one below moved up."""
    placed, last = dict[int, float](), float("-inf")
    for number in sorted(range(len(heights)), key=lambda number: heights[number]):
        last = max(heights[number], last + _GAP)
        placed[number] = last
    return [placed[number] for number in range(len(heights))]


def save(figure: Figure, path: Path) -> None:
    """Write an SVG; the same figure gives the same bytes."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": path.stem}):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
