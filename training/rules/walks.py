"""Walks over a graph's edges, all queries at once.

A path is a sequence of directions (relation r, or r + R for its reciprocal), and a walk along it
visits no entity twice: ``X -r1-> A -r2-> B -r3-> Y`` with X, A, B and Y all distinct. So no walk
from X to Y uses an edge between X and Y other than the whole walk itself, and what paths say of a
training triple is said without that triple.

Shape letters: n queries or triples, R relations, E entities.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mulde.runs import run_owners, run_places
from mulde.typing import Rows

Path = tuple[int, ...]
Known = dict[Path, csr_array]
Directions = TypeVar("Directions", int, Rows)

LONGEST = 3


class Walks:
    """The edges of train in both directions.

    Args:
        triples: [m, 3] of head, relation, tail; edges from an entity to itself are left out.
        entities, relations: E and R.
    """

    def __init__(self, triples: NDArray[np.int32], entities: int, relations: int) -> None:
        self.entities, self.relations = entities, relations
        head, relation, tail = triples[triples[:, 0] != triples[:, 2]].astype(np.int64).T
        self._source = np.concatenate([head, tail])
        self._direction = np.concatenate([relation, relation + relations])
        self._target = np.concatenate([tail, head])

    @cached_property
    def edges(self) -> list[csr_array]:
        """[E, E] of ones for each of the 2R directions."""
        found = []
        for direction in range(2 * self.relations):
            mine = self._direction == direction
            places = self._source[mine], self._target[mine]
            ones = np.ones(len(places[0]), np.float32)
            matrix = csr_array((ones, places), shape=(self.entities, self.entities))
            matrix.data[:] = 1  # an edge that train repeats counts once
            found.append(matrix)
        return found

    def pairs(self, direction: int) -> tuple[Rows, Rows]:
        """Sources and targets of a direction's edges."""
        mine = self._direction == direction
        return self._source[mine], self._target[mine]

    def reciprocal(self, direction: Directions) -> Directions:
        """The same relations, walked the other way."""
        return (direction + self.relations) % (2 * self.relations)

    def reversed(self, path: Path) -> Path:
        """The path walked from its end to its start."""
        return tuple(self.reciprocal(direction) for direction in path[::-1])

    @cached_property
    def degree(self) -> Rows:
        """Number of edges from each entity, [E]."""
        return np.bincount(self._source, minlength=self.entities)

    @cached_property
    def fan_out(self) -> Rows:
        """Number of walks of two steps from each entity, [E]; it may come back to it."""
        weights = self.degree[self._target].astype(np.float64)
        return np.bincount(self._source, weights, self.entities).astype(np.int64)

    def reached(self, sources: Rows, paths: Iterable[Path]) -> Iterator[csr_array]:
        """Per path, ones [n, E] where a walk along it ends."""
        known: Known = {}
        own = _ones(sources, self.entities)
        for path in paths:
            found = self._counts(path, sources, own, known).copy()
            found.data[:] = 1
            yield found

    def _counts(
        self, path: Path, sources: Rows, own: csr_array, known: dict[Path, csr_array]
    ) -> csr_array:
        """Walks [n, E] along a path that do not end where they began; shorter ones are kept."""
        if path not in known:
            if len(path) == 1:
                counts = self.edges[path[0]][sources]
            else:
                before = self._counts(path[:-1], sources, own, known)
                counts = before @ self.edges[path[-1]]
                if len(path) == LONGEST:
                    counts = counts - self._twice(path, sources)
                counts = counts - counts.multiply(own)
            found = csr_array(counts)
            found.eliminate_zeros()
            if len(path) == LONGEST:
                return found
            known[path] = found
        return known[path]

    def _twice(self, path: Path, sources: Rows) -> csr_array:
        """Walks [n, E] of three steps that end at their second entity: X, Y, B, Y with B not X."""
        first, second, third = path
        over = self.edges[first][sources]
        turns = self.edges[second].multiply(self.edges[self.reciprocal(third)]).sum(axis=1)
        back = self.edges[self.reciprocal(second)][sources].multiply(self.edges[third][sources])
        return csr_array(over.multiply(turns[None, :].astype(np.float32)) - over.multiply(back))

    def step(self, at: Rows) -> tuple[Rows, Rows, Rows]:
        """All edges from entities ``at`` [n]: which of n, direction, target."""
        order, first = self._by_source
        count = first[at + 1] - first[at]
        parent, place = run_owners(count), order[run_places(first[at], count)]
        return parent, self._direction[place], self._target[place]

    @cached_property
    def _by_source(self) -> tuple[Rows, Rows]:
        order = np.argsort(self._source, kind="stable")
        first = np.searchsorted(self._source[order], np.arange(self.entities + 1))
        return order, first


def _ones(columns: Rows, entities: int) -> csr_array:
    """[n, E] with one 1 per row."""
    count = len(columns)
    places = (np.arange(count), columns)
    return csr_array((np.ones(count, np.float32), places), shape=(count, entities))
