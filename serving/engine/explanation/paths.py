"""Walks over known facts from the head to the tail of triples, along the rules of their relation.

Known facts are rows compressed by (entity, direction), so an edge list is one look-up in the mapped
file and nothing is built in memory. A walk visits no entity twice, so it never uses the triple
itself. From which end walks start is chosen for each triple: the one with fewer facts.

Shape letters: B triples, n rules of one relation, P paths, m walks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mulde.bundle.facts.amended_facts import FactLookup
from mulde.bundle.facts.path_rules import NO_STEP, PathRules
from mulde.runs import run_owners, run_places
from mulde.typing import Ints, Mask, Offsets, Rows

NO_ENTITY = -1
MOST_WALKS = 1 << 14
"""Walks of one triple that are looked at, counted in the bytes of their last edges."""

Check = Callable[[], None]
Walked = tuple[Rows, Rows, Rows, Rows]
"""Triple, rule, second and third entity of walks, [m] each; NO_ENTITY where there is none."""


@dataclass(frozen=True)
class FoundPaths:
    """Paths between head and tail, the most confident rule of each triple first.

    Attributes:
        offsets: [B + 1]; triple i has the paths ``offsets[i]`` to ``offsets[i + 1]``.
        rules: [P] rows of the bundle's rules.
        counts: [P], walks along the path, of those that were looked at.
        between: [P, 2], the entities between head and tail on one of them; NO_ENTITY fills.
        cut: [B], whether some walks were not looked at because there are too many.
    """

    offsets: Offsets
    rules: Rows
    counts: Rows
    between: NDArray[np.int64]
    cut: Mask


def find_paths(
    known: FactLookup,
    rules: PathRules,
    heads: Rows,
    relations: Rows,
    tails: Rows,
    most: int,
    check: Check,
) -> FoundPaths:
    """Return up to ``most`` paths of each triple [B]; relations in [0, R).

    Args:
        known: facts to walk over.
        rules: that say which paths stand for a relation.
        heads: [B] rows.
        relations: [B] rows.
        tails: [B] rows.
        most: paths of a triple.
        check: called between relations; what it raises ends the work.
    """
    cut = np.zeros(len(heads), dtype=bool)
    parts: list[Walked] = [(np.zeros(0, np.int64),) * 4]
    for relation in np.unique(relations).tolist():
        check()
        mine, which = np.flatnonzero(relations == relation), rules.of(relation)
        search = _Search(known, heads[mine], tails[mine], rules.num_relations)
        triple, rule, second, third = search.walks(rules.steps[which].astype(np.int64))
        parts.append((mine[triple], rule + which.start, second, third))
        cut[mine] = search.cut
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return _ranked((joined[0], joined[1], joined[2], joined[3]), cut, most)


def _ranked(walked: Walked, cut: Mask, most: int) -> FoundPaths:
    """One path for each triple and rule, ``most`` of a triple.

    A sequence of entities counts for the most confident rule that it follows: a symmetric relation
    would otherwise give each walk several times.
    """
    fresh, walked = _first_of_equal(walked, (walked[0], walked[2], walked[3]), walked[1])
    triple, rule, second, third = (column[fresh] for column in walked)
    fresh, walked = _first_of_equal((triple, rule, second, third), (triple, rule), second)
    triple, rule, second, third = walked
    first = np.flatnonzero(fresh)
    counts = np.diff(np.append(first, len(triple)))
    owners = triple[first]
    place = np.arange(len(first)) - np.searchsorted(owners, owners)
    kept = place < most
    first, owners = first[kept], owners[kept]
    offsets = np.searchsorted(owners, np.arange(len(cut) + 1))
    between = np.stack([second[first], third[first]], axis=1)
    return FoundPaths(offsets, rule[first], counts[kept], between, cut)


def _first_of_equal(walked: Walked, keys: tuple[Rows, ...], least: Rows) -> tuple[Mask, Walked]:
    """Walks sorted by keys and then ``least``, and which of them begin another key."""
    order = np.lexsort((least, *keys[::-1]))
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    triple, rule, second, third = (column[order] for column in walked)
    return fresh, (triple, rule, second, third)


class _Search:
    """Walks between pairs (head, tail) [B] along the rules of one relation.

    Attributes:
        cut: [B], which pairs have more walks than are looked at.
    """

    def __init__(self, known: FactLookup, heads: Rows, tails: Rows, relations: int) -> None:
        self._known, self._directions = known, 2 * relations
        self._heads, self._tails = heads, tails
        self.cut = np.zeros(len(heads), dtype=bool)

    def _back(self, directions: Rows) -> Rows:
        """The same relations, walked the other way."""
        back: Rows = (directions + self._directions // 2) % self._directions
        return back

    def walks(self, steps: Rows) -> Walked:
        """All walks along rules of steps [n, 3]."""
        length = (steps != NO_STEP).sum(axis=1)
        last = steps[np.arange(len(steps)), length - 1]
        from_head = self._sizes(self._heads, steps[:, 0])
        from_tail = self._sizes(self._tails, self._back(last))
        possible = (from_head > 0) & (from_tail > 0)
        forward = np.where(possible, from_head - from_tail, 0).sum(axis=1) <= 0
        reverse = self._reversed(steps, length)
        longer = possible & (length > 1)
        one = self._direct(possible & (length == 1), steps)
        there = self._longer(longer & forward[:, None], steps, self._heads, self._tails)
        back = self._longer(longer & ~forward[:, None], reverse, self._tails, self._heads)
        two = length[back[1]] == 2
        swapped = back[0], back[1], np.where(two, back[2], back[3]), np.where(two, back[3], back[2])
        joined = [np.concatenate(columns) for columns in zip(one, there, swapped, strict=True)]
        return joined[0], joined[1], joined[2], joined[3]

    def _sizes(self, entities: Rows, directions: Rows) -> Rows:
        """Bytes of the edge lists of entities [B] along directions [n], [B, n]; 0 for none."""
        shape = len(entities), len(directions)
        sizes = self._known.sizes(entities.repeat(shape[1]), np.tile(directions, shape[0]))
        return sizes.reshape(shape)

    def _reversed(self, steps: Rows, length: Rows) -> Rows:
        """The rules [n, 3] walked from tail to head."""
        place = length[:, None] - 1 - np.arange(steps.shape[1])
        turned = self._back(np.take_along_axis(steps, np.maximum(place, 0), axis=1))
        return np.where(place >= 0, turned, NO_STEP)

    def _direct(self, wanted: Mask, steps: Rows) -> Walked:
        """Walks of one step."""
        pair, rule = np.nonzero(wanted)
        edge = self._known.contains(self._heads[pair], steps[rule, 0], self._tails[pair])
        pair, rule = pair[edge], rule[edge]
        none = np.full(len(pair), NO_ENTITY)
        return pair, rule, none, none

    def _longer(self, wanted: Mask, steps: Rows, source: Rows, target: Rows) -> Walked:
        """Walks of two and three steps.

        Args:
            wanted: [B, n], the pairs and rules to look at.
            steps: [n, 3], from the source.
            source: [B], where walks start.
            target: [B], where they end.
        """
        pair, rule = np.nonzero(wanted)
        if not len(pair):
            return pair, rule, pair, pair
        first, group = np.unique(pair * self._directions + steps[rule, 0], return_inverse=True)
        owner = first // self._directions
        row, second = self._edges(owner, source[owner], first % self._directions)
        row, second = _where(self._apart(owner[row], second, source, target), row, second)
        bounds = np.searchsorted(row, np.arange(len(first) + 1))
        two = steps[rule, 2] == NO_STEP
        entry, place = _expand(bounds, group[two])
        short = pair[two][entry], rule[two][entry], second[place], np.full(len(place), NO_ENTITY)
        short = self._closed(short, steps[:, 1], short[2], target)
        pair, rule, group = pair[~two], rule[~two], group[~two]
        prefix, chosen = np.unique(group * self._directions + steps[rule, 1], return_inverse=True)
        entry, place = _expand(bounds, prefix // self._directions)
        middle, owner = second[place], owner[prefix // self._directions]
        row, third = self._edges(owner[entry], middle, prefix[entry] % self._directions)
        apart = self._apart(owner[entry][row], third, source, target) & (third != middle[row])
        row, third = _where(apart, row, third)
        bounds = np.searchsorted(entry[row], np.arange(len(prefix) + 1))
        number, at = _expand(bounds, chosen)
        long = pair[number], rule[number], middle[row[at]], third[at]
        long = self._closed(long, steps[:, 2], long[3], target)
        joined = [np.concatenate(columns) for columns in zip(short, long, strict=True)]
        return joined[0], joined[1], joined[2], joined[3]

    def _edges(self, owner: Rows, entities: Rows, directions: Rows) -> tuple[Rows, Rows]:
        """Edges from entities [m] of pairs ``owner`` [m]: which of m, and where it leads.

        Of a pair with too many, the shortest edge lists are taken.
        """
        size = self._known.sizes(entities, directions)
        order = np.lexsort((size, owner))
        total = np.cumsum(size[order])
        own = owner[order]
        before = np.concatenate([[0], total])[np.searchsorted(own, own)]
        taken = np.sort(order[total - before <= MOST_WALKS])
        if len(taken) < len(owner):
            missing = np.ones(len(owner), dtype=bool)
            missing[taken] = False
            self.cut[owner[missing]] = True
        offsets, reached = self._known.of_many(entities[taken], directions[taken])
        return taken.repeat(np.diff(offsets)), reached.astype(np.int64)

    def _apart(self, pair: Rows, entities: Rows, source: Rows, target: Rows) -> Mask:
        """Which entities [m] are neither end of their pair."""
        apart: Mask = (entities != source[pair]) & (entities != target[pair])
        return apart

    def _closed(self, walked: Walked, last: Rows, before: Rows, target: Rows) -> Walked:
        """The walks whose entity before the last step has that edge to the target."""
        pair, rule, second, third = walked
        ends = self._known.contains(target[pair], self._back(last[rule]), before)
        return pair[ends], rule[ends], second[ends], third[ends]


def _where(kept: Mask, *columns: Rows) -> tuple[Rows, ...]:
    return tuple(column[kept] for column in columns)


def _expand(bounds: Offsets, groups: Ints) -> tuple[Rows, Rows]:
    """Every row of the group that each entry names: number of the entry, place of the row."""
    count = bounds[groups + 1] - bounds[groups]
    return run_owners(count), run_places(bounds[groups], count)
