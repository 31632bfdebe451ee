"""A table of 8 bits from chunks: the file and the numbers of one that was packed at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic.quantise import Points, fit_codec, pack_chunks, stream_table
from mulde.bundle.table.entity_table import Layout, excess
from mulde.bundle.table.quantised_table import pack_quantised
from training.export.table.entity_table import write_quantised

LAYOUT = Layout(16)


@pytest.fixture
def points() -> Points:
    generator = np.random.default_rng(4)
    tail, head = generator.normal(size=(2, 3000)) * [[2.0], [0.5]]
    return generator.normal(size=(3000, 16)) * 0.4, tail, head


def chunks(points: Points) -> Iterator[Points]:
    return zip(*(np.array_split(part, 7) for part in points), strict=True)


def test_the_file_is_that_of_a_table_written_at_once(points: Points, tmp_path: Path) -> None:
    codec = fit_codec(LAYOUT, lambda: chunks(points))
    table = np.concatenate(list(pack_chunks(LAYOUT, codec, chunks(points))))
    write_quantised(tmp_path / "whole", table, codec)
    again = pack_chunks(LAYOUT, codec, chunks(points))
    stream_table(tmp_path / "chunks", again, 3000, LAYOUT.width, codec)
    assert (tmp_path / "chunks").read_bytes() == (tmp_path / "whole").read_bytes()


def test_numbers_are_as_near_as_those_of_a_table_packed_at_once(points: Points) -> None:
    codec = fit_codec(LAYOUT, lambda: chunks(points))
    mine = np.concatenate(list(pack_chunks(LAYOUT, codec, chunks(points))))
    whole, _ = pack_quantised(LAYOUT, *points, bits=8)
    found, other = LAYOUT.unpack(mine), LAYOUT.unpack(whole)
    spans = np.ptp(points[0], axis=0)
    assert (np.abs(found.spatial - points[0]) <= spans / 510 * 1.01).all()
    for name, true in (("tail_bias", points[1]), ("head_bias", points[2])):
        lost, usual = (np.abs(getattr(one, name) - true).max() for one in (found, other))
        assert lost <= 1.5 * usual + 1e-6
    # A row stays on the hyperboloid: its excess is that of its rounded coordinates.
    assert np.abs(found.excess - excess(found.spatial)).max() < 3e-4
