"""Labels as people give them, by the million, made up from a seed: persons, places, works, things.

Words come out of syllables and their frequencies fall as 1 / rank, so that labels share words and
beginnings as those of a real graph do, and many are one letter apart from another.

    person    a given name and a family name, some with a second given name or an initial
    place     a word, some with a river, a province or a kind of place
    work      two to five words, some with "The" and "of"
    thing     one to three words, some with a year or a part in brackets

Letter of shapes: n labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Draw = Callable[[], str]

_STARTS = [
    *"bbcddfghjkllmmnnprrssttvw",
    "br",
    "ch",
    "gr",
    "kl",
    "pr",
    "sch",
    "sh",
    "st",
    "th",
    "tr",
]
_VOWELS = [*"aaaeeeiioouy", "ai", "au", "ea", "ee", "ie", "ou"]
_ENDS = [*[""] * 10, *"llmnnnrrrsst", "nd", "ng", "ll", "ck", "st"]
_PARTS = _STARTS, _VOWELS, _ENDS
_MORE = 1 << 14


def words(count: int, generator: np.random.Generator) -> list[str]:
    """Distinct words of one to three syllables, the shortest mostly first."""
    found: dict[str, None] = {}
    while len(found) < count:
        drawn = generator.integers(1 << 30, size=(count, 3, 3)).tolist()
        for place, syllables in enumerate(drawn):
            size = 1 + (place > count // 50) + (place > 2 * count // 3)
            found["".join(map(_syllable, syllables[:size]))] = None
    return list(found)[:count]


def _syllable(draws: list[int]) -> str:
    return "".join(parts[draw % len(parts)] for parts, draw in zip(_PARTS, draws, strict=True))


class _Drawer:
    """Draws words, the first most often: P(rank) ~ 1 / (rank + 10)."""

    def __init__(self, choices: list[str], generator: np.random.Generator) -> None:
        weights = 1.0 / (np.arange(len(choices)) + 10.0)
        self._ends = np.cumsum(weights / weights.sum())
        self._choices, self._generator = choices, generator
        self._drawn: list[int] = []

    def __call__(self) -> str:
        if not self._drawn:
            places = np.searchsorted(self._ends[:-1], self._generator.random(_MORE))
            self._drawn = places.tolist()
        return self._choices[self._drawn.pop()]


def labels(count: int, seed: int = 0) -> list[str]:
    """``count`` distinct labels; equal arguments give the same ones."""
    generator = np.random.default_rng(seed)
    vocabulary = [word.capitalize() for word in words(60_000, generator)]
    given, family, common = (
        _Drawer([vocabulary[place] for place in generator.permutation(60_000)[:size]], generator)
        for size in (4_000, 50_000, 30_000)
    )
    found: dict[str, None] = {}
    while len(found) < count:
        for kind, luck in zip(*_draws(generator), strict=True):
            found[_label(kind, luck, given, family, common)] = None
    return list(found)[:count]


def spoilt(text: str, generator: np.random.Generator) -> str:
    """The text with one letter put in, left out, replaced, or swapped with the next."""
    place = int(generator.integers(len(text) - 1))
    letter = chr(ord("a") + int(generator.integers(26)))
    before, here, after = text[:place], text[place], text[place + 1 :]
    ways = (before + letter + here + after, before + after, before + letter + after)
    swapped = before + after[0] + here + after[1:]
    return (*ways, swapped)[int(generator.integers(4))]


def _draws(generator: np.random.Generator) -> tuple[list[int], list[float]]:
    """Which kinds of labels come next, and a number from 0 to 1 for each."""
    kinds: NDArray[np.int64] = generator.choice(4, size=_MORE, p=[0.45, 0.15, 0.2, 0.2])
    return kinds.tolist(), generator.random(_MORE).tolist()


def _label(kind: int, luck: float, given: Draw, family: Draw, common: Draw) -> str:
    if kind == 0:
        middle = f" {given()}" if luck < 0.2 else f" {given()[0]}." if luck < 0.3 else ""
        return f"{given()}{middle} {family()}"
    if kind == 1:
        more = f"-on-{common()}" if luck < 0.1 else f" {common()}" if luck < 0.6 else ""
        return f"{family()}{more}"
    if kind == 2:
        start = "The " if luck < 0.4 else ""
        end = f" of {common()}" if luck < 0.6 else f" {common().lower()} {common().lower()}"
        return f"{start}{common()} {common().lower()}{end}"
    end = f" ({int(1800 + 220 * luck)})" if luck < 0.2 else ""
    return f"{common()} {common().lower()}{end}"
