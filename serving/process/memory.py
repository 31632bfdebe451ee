"""How the process gets memory from the system and gives it back, where glibc is the C library.

What is freed stays with the process by default: a heap for each thread, and large blocks too once
one of their size was freed. That is quick, and on a small device it is what fills the memory.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8

_HEAPS = 1
_LARGE_BYTES = 128 << 10
"""Blocks from here on come from the system and go back to it at once."""


def keep_little() -> None:
    """From now on share one heap between all threads, and give back what is freed.

    Without effect where the C library has no such settings; the process is then larger, no worse.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, _HEAPS)
        library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Give back what is free now, such as what loading a model took besides the model."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library; None if it is another one."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
