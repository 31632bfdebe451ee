"""Errors short enough for where they travel.

The status of a call goes in HTTP/2 trailers, of which clients take 8 KiB by default: the sentence
with up to three letters for each byte, and in base64 once more for programs, beside details. What
is longer reaches nobody, for the client then reports the size of the trailers and no error of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, takewhile

MOST_BYTES = 768
"""Bytes of UTF-8 of a sentence, and of the choices in a detail."""


def cut(text: str, most_bytes: int = MOST_BYTES) -> str:
    """A text of at most so many bytes; ``...`` where it is not whole."""
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - 3].decode("utf-8", "ignore") + "..."


def fitting(names: Sequence[str], most_bytes: int = MOST_BYTES) -> list[str]:
    """The first names that have at most so many bytes together; each is whole."""
    ends = accumulate(len(name.encode("utf-8", "backslashreplace")) for name in names)
    count = sum(1 for _ in takewhile(lambda end: end <= most_bytes, ends))
    return list(names[:count])
