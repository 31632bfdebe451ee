"""Settings of glibc's allocator, and returning freed memory to the system.

By default freed memory stays with the process: a heap for each thread, and large blocks too once
one of their size was freed. That is fast, but fills the memory of a small device.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8

_HEAPS = 1
_LARGE_BYTES = 32 << 10
"""Larger blocks, such as parts of a message, are mapped from the system and returned at once."""


def keep_little() -> None:
    """Share one heap between all threads, and return freed memory at once, from now on.

    Without effect where the C library is not glibc.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, _HEAPS)
        library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Return free memory to the system, such as what loading a model took."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library if it is glibc, else None."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
