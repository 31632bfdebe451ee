"""Tables made to do harm, with digests to match: refused before FAISS sees them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.files import ENTITIES
from tests.serving.resealing import reseal
from tests.torture.tools import Opener, Tally

ABSURD = {
    "rows": (8, struct.pack("<q", 2**62)),
    "no rows": (8, struct.pack("<q", -1)),
    "columns": (4, struct.pack("<i", 2**31 - 1)),
    "kind": (0, b"IwFl"),
    "wrapped": (0, b"IxPT"),
    "untrained": (32, b"\0"),
    "metric": (33, struct.pack("<i", 23)),
    "codec": (37, struct.pack("<i", 7)),
    "row size": (57, struct.pack("<Q", 2**63)),
    "training": (65, struct.pack("<Q", 2**40)),
    "codes": (73, struct.pack("<Q", 2**40)),
}


@pytest.mark.parametrize("name", ABSURD)
def test_a_table_with_absurd_numbers_is_refused(
    copy: Path, name: str, opener: Opener, tally: Tally
) -> None:
    place, content = ABSURD[name]
    whole = (copy / ENTITIES).read_bytes()
    (copy / ENTITIES).write_bytes(whole[:place] + content + whole[place + len(content) :])
    reseal(copy)
    assert opener(copy).startswith(f"{copy / ENTITIES}: expected")
    tally("bundle: made to do harm", bundles=1, refused=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 49])
def test_a_table_with_a_number_that_is_none_is_refused(
    copy: Path, row: int, value: float, opener: Opener
) -> None:
    whole = bytearray((copy / ENTITIES).read_bytes())
    place = len(whole) - (50 - row) * 32
    whole[place : place + 2] = np.float16(value).tobytes()
    (copy / ENTITIES).write_bytes(whole)
    reseal(copy)
    assert opener(copy) == f"{copy / ENTITIES}: a row is not finite"
