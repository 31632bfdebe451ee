"""Files with one byte changed, and what a reader makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from mulde.errors import BundleError

T = TypeVar("T")


def accepted(path: Path, read: Callable[[Path], T], step: int = 1) -> Iterator[T]:
    """Change one byte after another of a file and read each damaged copy.

    Yields what was read from each copy that was not refused, which may hold other values than the
    file but must be sound. Any other error than a ``BundleError`` that names the copy gets out.
    """
    whole = path.read_bytes()
    generator = np.random.default_rng(len(whole))
    for place in range(0, len(whole), step):
        damaged = bytearray(whole)
        damaged[place] ^= int(generator.integers(1, 256))
        copy = path.with_name(f"damaged-{place}-{path.name}")
        copy.write_bytes(damaged)
        try:
            result = read(copy)
        except BundleError as error:
            if error.path != copy:
                raise
        else:
            yield result
