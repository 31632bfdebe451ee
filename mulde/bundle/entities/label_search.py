"""Entities by the beginning of their label, or by a label with one letter wrong: ``search.bin``.

Labels are compared folded: NFKC, without case, spaces collapsed. Completions come from the rows
sorted by folded label. A misspelling is found by looking up all texts that are one edit away from
the query: some 40 L texts for L letters, whose hashes are formed together and looked up together in
the sorted hashes of all labels. So the cost does not depend on how many labels are alike, and the
index takes at most 12 bytes a label.

Shape letters: E entities, D distinct folded labels, A letters, L letters of a query.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, zip_longest
from operator import ne
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.entities.edit_distance import (
    MAX_EDITS,
    UNLIKE,
    hash_all,
    hashes_one_edit_away,
    likelihood,
)
from mulde.errors import BundleError
from mulde.storage.container import read_sections, write_sections
from mulde.storage.strings import StringColumn
from mulde.typing import Array

MAGIC = b"MULDESEA"
VERSION = 1
MAX_LETTERS = 256
"""Longer queries are cut."""

_EXPECTED = {"order": ("u4",), "hashes": ("u4",), "places": ("u4",), "alphabet": ("u4",)}
_COMPLETIONS = 1024
_LEADERS = 1024
_SPACES = re.compile(r"[^\S\n]+")
_MARGINS = re.compile(r"(?m)^ | $")


def fold(text: str) -> str:
    """Fold a text for comparison: NFKC, without case, runs of spaces as one, none at the ends.

    Line feeds stay, so that many labels fold at once.
    """
    if text.isascii():  # whose NFKC is itself
        lower = text.lower()
        if " ".join(lower.split()) == lower:
            return lower
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _MARGINS.sub("", _SPACES.sub(" ", folded))


@dataclass(frozen=True)
class SearchIndex:
    """Completions and misspellings of labels.

    Attributes:
        labels: of the entities.
        order: uint32 [E], rows by folded label, then by row.
        hashes: uint32 [D], of the distinct folded labels, ascending.
        places: uint32 [D], the place in ``order`` where the label of each hash begins.
        alphabet: uint32 [A], letters of folded labels, the commonest first.
    """

    labels: StringColumn
    order: NDArray[np.uint32]
    hashes: NDArray[np.uint32]
    places: NDArray[np.uint32]
    alphabet: NDArray[np.uint32]

    @classmethod
    def build(cls, labels: StringColumn) -> SearchIndex:
        """Index the labels of all entities."""
        folded = fold("\n".join(labels)).split("\n")
        order = sorted(range(len(folded)), key=folded.__getitem__)
        ordered = [folded[row] for row in order]
        first = np.fromiter(chain([True], map(ne, ordered[1:], ordered)), dtype=bool)
        places = np.flatnonzero(first)
        hashes = hash_all([ordered[place] for place in places.tolist()])
        by_hash = np.argsort(hashes, kind="stable")
        letters = np.frombuffer("".join(folded).encode("utf-32-le"), dtype="<u4")
        alphabet, count = np.unique(letters, return_counts=True)
        commonest = np.argsort(-count, kind="stable")[:MAX_EDITS]
        return cls(
            labels,
            np.array(order, dtype=np.uint32),
            hashes[by_hash],
            places[by_hash].astype(np.uint32),
            alphabet[commonest].astype(np.uint32),
        )

    def find(self, text: str, k: int) -> list[int]:
        """Up to k entities for a text, best first.

        Exact labels come first; then, alternating, labels that begin with the text, those first
        where a comma or the end of a word follows it, the shortest first, and labels one edit away,
        the likeliest first.
        Further entities of a label that is one edit away follow at the end.

        Returns:
            Distinct rows; none for an empty text.
        """
        query = fold(text.replace("\n", " "))[:MAX_LETTERS]
        if not query:
            return []
        start = self._first(query)
        after = self._from(start, query + "\0")
        exact: list[int] = self.order[start : min(after, start + k)].tolist()
        if len(exact) == k:
            return exact
        end = self._from(after, query + chr(0x10FFFF))
        # "lion, king of beasts" before "lion cub" before "lioness": marks sort before letters.
        comma, dash, words = (self._from(after, query + mark) for mark in ",-0")
        parts = (comma, dash), (after, comma), (dash, words), (words, end)
        begun = chain.from_iterable(self._completions(*part) for part in parts)
        wrong = self._misspelt(query)
        mixed = zip_longest(begun, self.order[wrong].tolist())
        homonyms = chain.from_iterable(map(self._run, wrong))
        return list(islice(_distinct(chain(exact, *mixed, homonyms)), k))

    def nearest(self, text: str, count: int = 3) -> list[str]:
        """Up to ``count`` labels that resemble an unknown name, best first."""
        rows = self.find(text, 4 * count)
        labels = list(dict.fromkeys(self.labels.take(np.array(rows, dtype=np.int64))))
        if labels:
            return labels[:count]
        place = self._first(fold(text.replace("\n", " ")))
        around = self.order[max(0, place - 8) : place + 8].astype(np.int64)
        return nearest_names(self.labels.take(around), text, count)

    @cached_property
    def _leaders(self) -> tuple[int, list[str]]:
        """A step, and the folded labels at its multiples: some 1,024 of them, in memory."""
        step = -(-len(self.order) // _LEADERS)
        folded = _Folded(self)
        return step, [folded[place] for place in range(0, len(self.order), step)]

    def _first(self, text: str) -> int:
        """The first place whose folded label is not below a text."""
        step, leaders = self._leaders
        above = bisect_left(leaders, text)
        low, high = max(0, (above - 1) * step), min(above * step, len(self.order))
        return bisect_left(_Folded(self), text, low, high)

    def _from(self, start: int, text: str) -> int:
        """The same, for a text whose place is mostly soon after ``start`` and never before."""
        folded, step = _Folded(self), 1
        while start + step <= len(folded) and folded[start + step - 1] < text:
            start, step = start + step, 2 * step
        return bisect_left(folded, text, start, min(start + step, len(folded)))

    def _misspelt(self, query: str) -> list[int]:
        """Places of labels one edit away from the query, likeliest first."""
        wanted = hashes_one_edit_away(query, self.alphabet)
        wanted.sort()  # one look-up then finds in the cache what the one before it read
        first = np.searchsorted(self.hashes, wanted)
        found = self.hashes[np.minimum(first, len(self.hashes) - 1)] == wanted
        first, last = first[found], np.searchsorted(self.hashes, wanted[found], side="right")
        # Distinct labels may share a hash: of 5 million some 3,000.
        places = {
            place
            for start, end in zip(first.tolist(), last.tolist(), strict=True)
            for place in self.places[start:end].tolist()
        }
        folded = _Folded(self)
        ranked = ((likelihood(query, folded[place]), place) for place in places)
        return [place for rank, place in sorted(ranked) if rank < UNLIKE]

    def _run(self, place: int) -> Iterator[int]:
        """Rows of all entities whose folded label begins at a place of ``order``."""
        folded = _Folded(self)
        label = folded[place]
        while place < len(self.order) and folded[place] == label:
            yield int(self.order[place])
            place += 1

    def _completions(self, start: int, end: int) -> list[int]:
        """Rows at places [start, end), the shortest labels first if they are not too many."""
        rows = self.order[start : min(end, start + _COMPLETIONS)]
        by_size: list[int] = rows[np.argsort(self.labels.sizes(rows), kind="stable")].tolist()
        return by_size

    def write(self, path: Path) -> None:
        """Write ``search.bin``, a new file."""
        arrays: dict[str, Array] = {name: getattr(self, name) for name in _EXPECTED}
        write_sections(path, MAGIC, VERSION, arrays)

    @classmethod
    def read(cls, path: Path, labels: StringColumn, *, check: bool = True) -> SearchIndex:
        """Map a ``search.bin`` that was built for these labels.

        Args:
            path: the file.
            labels: of the entities.
            check: refuse unsound content; False only for a file that another process has just
                checked.

        Raises:
            BundleError: if it is missing, damaged, foreign or of other labels.
        """
        arrays = read_sections(path, MAGIC, VERSION, _EXPECTED)
        index = cls(labels, *(arrays[name] for name in _EXPECTED))
        if len(index.order) != len(labels) or len(index.hashes) != len(index.places):
            raise BundleError(path, f"expected an index of {len(labels)} labels")
        if check:
            index._check_content(path)
        return index

    def _check_content(self, path: Path) -> None:
        count = len(self.order)
        seen = np.zeros(count, dtype=bool)
        seen[self.order[self.order < count]] = True
        if not seen.all() or not 1 <= len(self.hashes) <= count or self.places.max() >= count:
            raise BundleError(path, "a row or a place is outside the labels")
        if (self.hashes[1:] < self.hashes[:-1]).any() or len(self.alphabet) > MAX_EDITS:
            raise BundleError(path, "its hashes must rise and its alphabet be short")


def nearest_names(names: Sequence[str], text: str, count: int = 3) -> list[str]:
    """Up to ``count`` of a few names that resemble a text, best first; compares with each."""
    folded = dict(zip(map(fold, names), names, strict=True))
    close = difflib.get_close_matches(fold(text), folded, n=count, cutoff=0.5)
    return [folded[name] for name in close]


class _Folded(Sequence[str]):
    """The folded labels in their order, for ``bisect``."""

    def __init__(self, index: SearchIndex) -> None:
        self.labels, self.order = index.labels, index.order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        return fold(self.labels[int(self.order[place])])


def _distinct(rows: Iterable[int | None]) -> Iterator[int]:
    """Rows as they come, each once, without the gaps."""
    seen: set[int] = set()
    for row in rows:
        if row is not None and row not in seen:
            seen.add(row)
            yield row
