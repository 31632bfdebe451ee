"""The entity table: widths, columns, and how little rounding costs."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.bundle.table.entity_table import Layout, excess


@pytest.mark.parametrize(("dimension", "width"), [(1, 8), (2, 8), (3, 16), (8, 16), (32, 40)])
def test_width_is_the_next_multiple_of_eight_of_dimension_and_six_scalars(
    dimension: int, width: int
) -> None:
    assert Layout(dimension).width == width


def test_two_traits_fit_where_a_table_of_32_dimensions_had_zeros() -> None:
    layout = Layout(32, 2)
    assert (layout.width, layout.traits) == (40, slice(38, 40))
    assert layout.whole.tolist() == [*range(32), 38, 39]
    assert Layout(32, 3).width == 48
    with pytest.raises(ValueError, match="found -1"):
        Layout(32, -1)


def test_traits_come_back_as_they_were() -> None:
    layout, traits = Layout(3, 2), np.array([[0.0, 1.0], [1.0, 0.5]])
    none = np.zeros(2)
    points = layout.unpack(layout.pack(np.zeros((2, 3)), none, none, traits=traits))
    np.testing.assert_array_equal(points.traits, traits)
    assert layout.unpack(layout.pack(np.zeros((2, 3)), none, none)).traits.tolist() == [[0, 0]] * 2


def test_columns_follow_the_architecture_document() -> None:
    table = Layout(2).pack(
        np.array([[3.0, 4.0]]), np.array([0.5]), np.array([-0.25]), precision="fp32"
    )
    excess_of_25 = np.float32(np.sqrt(26.0) - 1.0)
    np.testing.assert_array_equal(table[0], [3, 4, excess_of_25, 0, 0.5, 0, -0.25, 0])


def test_every_value_of_an_fp16_table_is_an_fp16_number() -> None:
    generator = np.random.default_rng(0)
    table = Layout(5).pack(
        generator.normal(size=(100, 5)), generator.normal(size=100), generator.normal(size=100)
    )
    np.testing.assert_array_equal(table, table.astype(np.float16).astype(np.float32))


def test_fp16_scalars_keep_22_bits() -> None:
    generator = np.random.default_rng(1)
    bias = generator.normal(size=1000)
    layout = Layout(3)
    points = layout.unpack(layout.pack(np.zeros((1000, 3)), bias, -bias))
    np.testing.assert_allclose(points.tail_bias, bias, rtol=2.0**-21, atol=2.0**-24)
    np.testing.assert_array_equal(points.head_bias, -points.tail_bias)


def test_rounded_rows_are_still_points_of_the_hyperboloid() -> None:
    generator = np.random.default_rng(2)
    layout = Layout(8)
    spatial = generator.normal(size=(500, 8)) * np.geomspace(1e-3, 3, 500)[:, None]
    points = layout.unpack(layout.pack(spatial, np.zeros(500), np.zeros(500)))
    time = 1.0 + points.excess
    norm = np.square(points.spatial).sum(axis=1) - time**2
    np.testing.assert_allclose(norm, -1.0, atol=1e-4)
    np.testing.assert_allclose(points.excess, excess(points.spatial), rtol=2.0**-20, atol=2.0**-24)


def test_excess_is_exact_near_the_origin_where_the_plain_formula_cancels() -> None:
    assert excess(np.array([1e-9])) == pytest.approx(5e-19, rel=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_a_value_that_the_table_cannot_hold_is_refused_with_its_row(value: float) -> None:
    spatial = np.zeros((3, 4))
    spatial[1, 2] = value
    with pytest.raises(ValueError, match=r"row 1 .* not finite in fp16"):
        Layout(4).pack(spatial, np.zeros(3), np.zeros(3))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected spatial of shape \[3, 4\]"):
        Layout(4).pack(np.zeros((3, 5)), np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="width 16"):
        Layout(4).unpack(np.zeros((3, 8)))
    with pytest.raises(ValueError, match="at least 1"):
        Layout(0)
