"""Charts as inline SVG, in the colours of the page: bars, lines, a reliability diagram.

Colours are CSS variables of the page, so that a chart follows its light or dark theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Line = tuple[str, Sequence[float], Sequence[float]]
"""Name, and the points' x and y."""

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _RIGHT = 560, 300, 48, 46, 24
_COLOURS = ("var(--first)", "var(--second)", "var(--third)", "var(--fourth)")


def bars(rows: Sequence[tuple[str, float]], text: str) -> str:
    """Return horizontal bars, as a table whose cells are drawn; values in [0, 1].

    Args:
        rows: name and value.
        text: what the values are, for the caption.
    """
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="bar"><span style="width:'
        f'{100 * min(max(value, 0.0), 1.0):.1f}%"></span></td><td>{value:.3f}</td></tr>'
        for name, value in rows
    )
    return f'<table class="bars"><caption>{escape(text)}</caption>{cells}</table>'


def lines(drawn: Sequence[Line], x_text: str, y_text: str) -> str:
    """Return lines, named in a legend; x and y from 0 to their largest values."""
    most_x = max((max(x) for _, x, _ in drawn if len(x)), default=1.0) or 1.0
    most_y = max((max(y) for _, _, y in drawn if len(y)), default=1.0) * 1.05 or 1.0
    scaled = [(name, [x / most_x for x in xs], [y / most_y for y in ys]) for name, xs, ys in drawn]
    return _frame(_polylines(scaled), drawn, x_text, y_text, (most_x, most_y))


def reliability_diagram(drawn: Sequence[Line], x_text: str, y_text: str) -> str:
    """Return predicted against observed shares, both in [0, 1], beside the diagonal."""
    start, end = _at(0, 0), _at(1, 1)
    diagonal = (
        f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" '
        'stroke="var(--grid)" stroke-dasharray="4 4"/>'
    )
    return _frame([diagonal, *_polylines(drawn)], drawn, x_text, y_text, (1.0, 1.0))


def _polylines(drawn: Sequence[Line]) -> list[str]:
    """Lines with their points, in the unit square."""
    parts = []
    for place, (_, xs, ys) in enumerate(drawn):
        points = [_at(x, y) for x, y in zip(xs, ys, strict=True)]
        colour, dash = _look(place)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return parts


def _look(place: int) -> tuple[str, str]:
    """Colour of a line, and its dashes where the colours are used up."""
    dash = "" if place < len(_COLOURS) else ' stroke-dasharray="5 4"'
    return _COLOURS[place % len(_COLOURS)], dash


def _at(x: float, y: float) -> tuple[float, float]:
    """Pixels of a place in the unit square."""
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - 10
    return _LEFT + x * wide, 10 + (1 - y) * high


def _frame(
    parts: list[str], drawn: Sequence[Line], x_text: str, y_text: str, most: tuple[float, float]
) -> str:
    """Grid, numbers, lines, and a legend above."""
    grid = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        (x, floor), (_, y) = _at(share, 0), _at(0, share)
        grid.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            'stroke="var(--grid)" stroke-width="0.5"/>'
            f'<text x="{_LEFT - 6}" y="{y + 5:.1f}" text-anchor="end">{share * most[1]:.2f}</text>'
            f'<text x="{x:.1f}" y="{floor + 20}" text-anchor="middle">{share * most[0]:.3g}</text>'
        )
    legend = "".join(
        f'<span style="color:{_look(place)[0]}">{"―" if place < len(_COLOURS) else "- -"} '
        f"{escape(name)}</span> "
        for place, (name, _, _) in enumerate(drawn)
    )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    axis = f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_text)}</text>'
    title = escape(f"{y_text} by {x_text}")
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
    figure = "".join([svg, *grid, *parts, axis, "</svg>"])
    caption = f"<figcaption>{escape(y_text)}: {legend}</figcaption>"
    return f"<figure>{caption}{figure}</figure>"
