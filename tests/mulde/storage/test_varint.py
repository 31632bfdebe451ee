"""Ascending numbers as differences."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from mulde.storage import varint as deltas


def test_small_steps_take_one_byte_and_large_ones_more() -> None:
    packed, offsets = deltas.encode(np.array([5, 6, 306]), np.array([0, 3]))
    assert packed.tolist() == [5, 1, 0x80 | (300 & 0x7F), 300 >> 7]
    assert offsets.tolist() == [0, 4]


@pytest.mark.parametrize("numbers", [[], [0], [0, 1], [127, 128], [2**31 - 1], [0, 2**31 - 1]])
def test_a_group_survives(numbers: list[int]) -> None:
    packed, offsets = deltas.encode(np.array(numbers, dtype=np.int64), np.array([0, len(numbers)]))
    assert offsets[-1] == len(packed)
    assert deltas.decode(packed).tolist() == numbers


def test_many_groups_survive_empty_ones_too() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(0, 40, size=300)
    sizes[[0, 7, -1]] = 0
    groups = [np.unique(generator.integers(0, 10**6, size=size)) for size in sizes]
    ends = np.cumsum([0, *map(len, groups)])
    packed, offsets = deltas.encode(np.concatenate(groups), ends)
    for place, group in enumerate(groups):
        part = packed[offsets[place] : offsets[place + 1]]
        assert deltas.decode(part).tolist() == group.tolist()
    numbers, bounds = deltas.decode_groups(packed, offsets)
    assert bounds.tolist() == ends.tolist()
    assert numbers.tolist() == np.concatenate(groups).tolist()


def test_any_bytes_can_be_decoded() -> None:
    generator = np.random.default_rng(1)
    for size in range(40):
        found = deltas.decode(generator.integers(0, 256, size=size).astype(np.uint8))
        assert len(found) <= size


def test_groups_survive_though_their_sum_runs_over_what_a_number_holds() -> None:
    groups = [[2**31 - 1], [5, 2**30, 2**31 - 2], [], [0, 2**31 - 1]] * 3
    ends = np.cumsum([0, *map(len, groups)])
    packed, offsets = deltas.encode(np.array(list(chain(*groups))), ends)
    numbers, bounds = deltas.decode_groups(packed, offsets)
    assert numbers.tolist() == list(chain(*groups))
    assert bounds.tolist() == ends.tolist()


def test_bytes_after_which_nothing_ends_are_no_number() -> None:
    assert deltas.decode(np.array([7, 0x81, 0x82], dtype=np.uint8)).tolist() == [7]
    assert deltas.decode(np.full(9, 0xFF, dtype=np.uint8)).tolist() == []
