"""Tables in 8 and 4 bits: what rounding costs, by hand and by formula."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.bundle.table.entity_table import Layout, excess
from mulde.bundle.table.quantised_table import Codec, pack_quantised

LAYOUT = Layout(10)


def codec(bits: int, low: float, span: float) -> Codec:
    return Codec(bits, np.full(8, low, np.float32), np.full(8, span, np.float32))


def test_a_code_is_the_middle_of_its_step() -> None:
    """15 is the span of 15 steps of 1 from -2: code 3 stands for 1.5."""
    coded = codec(4, -2.0, 15.0)
    row = np.array([[1.4, 1.0, 1.99, -2.0, -99.0, 99.0, 13.9, 13.1]])
    codes = coded.encode(row)
    assert codes.tolist() == [[3 | 3 << 4, 3 | 0 << 4, 0 | 15 << 4, 15 | 15 << 4]]
    assert coded.decode(codes).tolist() == [[1.5, 1.5, 1.5, -1.5, -1.5, 13.5, 13.5, 13.5]]


@pytest.mark.parametrize("bits", [4, 8])
def test_what_was_decoded_is_coded_the_same_again(bits: int) -> None:
    generator = np.random.default_rng(0)
    points, (tails, heads) = generator.normal(size=(300, 10)), generator.normal(size=(2, 300))
    table, coded = pack_quantised(LAYOUT, points, tails, heads, bits)
    codes = coded.encode(table)
    assert codes.shape == (300, coded.row_bytes) == (300, 16 * bits // 8)
    assert np.array_equal(coded.decode(codes), table)


def test_eight_bits_are_within_half_a_step_and_scalars_within_one_of_16_bits() -> None:
    generator = np.random.default_rng(1)
    spatial, tail, head = generator.normal(size=(500, 10)), *generator.normal(size=(2, 500))
    table, _ = pack_quantised(LAYOUT, spatial, tail, head, 8)
    points = LAYOUT.unpack(table)
    steps = np.ptp(spatial, axis=0) / 256
    assert (np.abs(points.spatial - spatial) <= 0.5001 * steps).all()
    assert np.abs(points.tail_bias - tail).max() <= 0.501 * np.ptp(tail) / 2**16
    assert np.abs(points.head_bias - head).max() <= 0.501 * np.ptp(head) / 2**16
    assert points.excess == pytest.approx(excess(points.spatial), abs=np.ptp(points.excess) / 2**16)


def test_four_bits_choose_a_range_that_loses_less_than_the_whole() -> None:
    values = np.random.default_rng(2).normal(size=(4000, 10))
    table, _ = pack_quantised(LAYOUT, values, np.zeros(4000), np.zeros(4000), 4)
    lost = np.square(LAYOUT.unpack(table).spatial - values).mean(axis=0)
    whole = np.square(np.ptp(values, axis=0) / 16) / 12
    assert (lost < 0.8 * whole).all()


def test_equal_numbers_stay_equal() -> None:
    table, _ = pack_quantised(LAYOUT, np.full((5, 10), 0.25), np.full(5, -3.0), np.zeros(5), 8)
    points = LAYOUT.unpack(table)
    assert points.spatial == pytest.approx(0.25)
    assert points.tail_bias == pytest.approx(-3.0)


def test_what_is_not_finite_is_refused() -> None:
    spatial = np.zeros((3, 10))
    spatial[1, 4] = np.inf
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="not finite"):
        pack_quantised(LAYOUT, spatial, np.zeros(3), np.zeros(3), 8)


@pytest.mark.parametrize("bits", [8, 4])
def test_no_rows_decode_to_no_rows(bits: int) -> None:
    codec = Codec(bits, np.zeros(16, np.float32), np.ones(16, np.float32))
    assert codec.decode(np.zeros((0, codec.row_bytes), np.uint8)).shape == (0, 16)
