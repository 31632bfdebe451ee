"""Choose what is held out of a graph: pairs of entities, the latest facts, or entities.

Shape letters: n facts, P pairs of entities, E entities, R relations.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mulde.typing import Bytes, Rows, Triples

Hashes = NDArray[np.uint64]
Places = NDArray[np.int8]
_NAMES = 1 << 17

Shortfall = Literal["refuse", "fewer", "unseen"]
"""Where too few facts can be held out: refuse, hold out fewer, or also the last of an entity."""


def hold_out(
    triples: Triples,
    hashes: Hashes,
    valid: float,
    test: float,
    shortfall: Shortfall = "refuse",
    trained: Triples | None = None,
) -> Places:
    """Which split each fact goes to, as a place in ``SPLITS``: whole pairs in a random order.

    Pairs are taken in the order of their hashes, first for test, then for valid; the last pair of
    each entity and each relation is passed over.

    Args:
        triples: [n, 3], columns head, relation, tail; distinct.
        hashes: [E], of the entities.
        valid: share of the facts that it gets; whole pairs may overshoot it.
        test: likewise.
        shortfall: "fewer" holds out half of what can be for each, where that is less; "unseen"
            also passes over no entity's last pair, so that train may not know it.
        trained: facts that train has anyway; no pair is passed over for their entities and
            relations.

    Returns:
        [n], 0 for train, 1 for valid, 2 for test.

    Raises:
        ValueError: where that much cannot be held out: how much can.
    """
    pairs, pair = _pairs(triples, len(hashes))
    first, second = np.divmod(pairs, len(hashes))
    order = np.argsort(_mix(_mix(hashes[first]) + hashes[second]), kind="stable")
    at = _places(order)[pair]
    free = np.bincount(at, minlength=len(order))
    trained = triples[:0] if trained is None else trained
    if shortfall != "unseen":
        last = np.zeros(len(hashes), dtype=np.int64)
        for column in (0, 2):
            np.maximum.at(last, triples[:, column], at)
        alone = np.setdiff1d(triples[:, [0, 2]], trained[:, [0, 2]])
        free[last[alone]] = 0
    free[_last(triples[:, 1], at)[np.setdiff1d(triples[:, 1], trained[:, 1])]] = 0
    return _take(free, len(triples), valid, test, shortfall)[at]


def hold_out_latest(
    triples: Triples,
    times: Rows,
    entities: int,
    valid: float,
    test: float,
    shortfall: Shortfall = "refuse",
) -> Places:
    """The same by time: pairs whose earliest fact is latest go to test, those before to valid.

    Raises:
        ValueError: where that much cannot be held out.
    """
    pairs, pair = _pairs(triples, entities)
    earliest = np.full(len(pairs), np.iinfo(np.int64).max)
    np.minimum.at(earliest, pair, times)
    at = _places(np.argsort(-earliest, kind="stable"))[pair]
    free = np.bincount(at, minlength=len(pairs))
    free[_last(triples[:, 1], at)] = 0
    return _take(free, len(triples), valid, test, shortfall)[at]


def hold_out_entities(triples: Triples, hashes: Hashes, valid: float, test: float) -> Places:
    """The same by entity: all facts of some entities go to test, of others to valid.

    A fact between an entity of valid and one of test goes to test.

    Raises:
        ValueError: where that much cannot be held out.
    """
    place = _places(np.argsort(_mix(hashes), kind="stable"))
    ends = place[triples[:, [0, 2]]]
    at = ends.min(axis=1)  # the first entity whose choice takes the fact away
    free = np.bincount(at, minlength=len(hashes))
    kept = np.zeros(len(hashes), dtype=bool)
    order = np.argsort(at, kind="stable")
    latest = np.zeros(triples[:, 1].max() + 1, dtype=np.int64)
    latest[triples[order, 1]] = order  # for each relation its fact that is taken away last
    kept[ends[latest].ravel()] = True
    wanted = _wanted(len(triples), valid, test)
    taken = np.where(kept, 0, free)
    before = np.cumsum(taken) - taken
    chosen = ~kept & (free > 0)
    part = np.zeros(len(hashes), dtype=np.int8)
    part[chosen & (before < sum(wanted))] = 1
    part[chosen & (before < wanted[0])] = 2
    _refuse_too_few(taken, [taken[part == 2].sum(), taken[part == 1].sum()], wanted, len(triples))
    return np.maximum(part[ends[:, 0]], part[ends[:, 1]])


def _pairs(triples: Triples, entities: int) -> tuple[Rows, Rows]:
    """Distinct pairs of entities as low * E + high [P], and each fact's pair [n]."""
    low = np.minimum(triples[:, 0], triples[:, 2]).astype(np.int64)
    keys = low * entities + np.maximum(triples[:, 0], triples[:, 2])
    del low
    pairs, pair = np.unique(keys, return_inverse=True)
    return pairs, pair


def _places(order: Rows) -> Rows:
    """The place of each item in an order."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place


def _take(free: Rows, facts: int, valid: float, test: float, shortfall: Shortfall) -> Places:
    """Splits of groups in their order, [P]: first for test, then for valid, those that are free.

    Raises:
        ValueError: where that much cannot be held out.
    """
    wanted = _wanted(facts, valid, test)
    if shortfall != "refuse":
        wanted = [max(1, min(one, int(free.sum()) // 2)) for one in wanted]
    before = np.cumsum(free) - free
    for_test = (free > 0) & (before < wanted[0])
    left = np.where(for_test, 0, free)
    before = np.cumsum(left) - left
    for_valid = (left > 0) & (before < wanted[1])
    least = wanted if shortfall == "refuse" else [1, 1]
    _refuse_too_few(free, [free[for_test].sum(), left[for_valid].sum()], least, facts)
    return for_valid + 2 * for_test.astype(np.int8)


def _wanted(facts: int, valid: float, test: float) -> list[int]:
    """Facts to hold out for test and for valid."""
    return [max(1, round(share * facts)) for share in (test, valid)]


def _refuse_too_few(free: Rows, found: list[int], wanted: list[int], facts: int) -> None:
    if any(one < least for one, least in zip(found, wanted, strict=True)):
        raise ValueError(
            f"expected {sum(wanted):,} of {facts:,} facts to hold out for valid and test, "
            f"found {free.sum():,} whose entities and relations other pairs have too"
        )


def hash_names(names: Any, seed: int) -> Hashes:
    """One number per name [E], from its UTF-8 bytes and the seed alone; Arrow or Python text."""
    salt = _mix(np.full(1, seed % 2**64, dtype=np.uint64))
    parts = [np.zeros(0, dtype=np.uint64)]
    for start in range(0, len(names), _NAMES):
        part = names[start : start + _NAMES]
        lines = "\n".join(part.to_pylist() if hasattr(part, "to_pylist") else part) + "\n"
        parts.append(_mix(_sums(np.frombuffer(lines.encode(), dtype=np.uint8)) ^ salt))
    return np.concatenate(parts)


def _sums(text: Bytes) -> Hashes:
    """A polynomial of the bytes of each line."""
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends + 1 - starts
    position = np.arange(len(text)) - np.repeat(starts, sizes)
    powers = np.cumprod(np.full(sizes.max(), 0x9E3779B97F4A7C15, dtype=np.uint64))
    return np.add.reduceat(text * powers[position], starts)


def _mix(values: Hashes) -> Hashes:
    """Spread a difference in any bit over all 64 (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _last(members: NDArray[np.int32], places: Rows) -> Rows:
    """The highest place at which each member occurs; [n] and [n] to [members]."""
    last = np.zeros(members.max() + 1, dtype=np.int64)
    np.maximum.at(last, members, places)
    return last
