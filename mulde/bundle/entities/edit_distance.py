"""Texts one edit apart: how likely the edit is, and the hashes of all texts one edit away.

An edit swaps two neighbouring letters, or drops, replaces or inserts one. A text's hash is a
polynomial of its letters, so the hashes of all edited texts follow from those of beginnings and
ends, without forming the texts.

Shape letters: n texts, L letters of a text, A letters of the alphabet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNLIKE = 9
"""``likelihood`` of texts that are not one edit apart."""

MAX_EDITS = 4096
"""About the number of edits that are tried; with a large alphabet, those of common letters."""

_FEWEST_LETTERS = 32
_BASE = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)

Codes = NDArray[np.uint64]


def likelihood(typed: str, label: str) -> int:
    """Order of likelihood of the edit from label to text: 0 is likeliest, ``UNLIKE`` is no edit.

    A label of L letters has about L swaps and L drops but 26 L insertions, so a given text is some
    25 times likelier to come from a swap or a drop.
    """
    start = _common_prefix(typed, label)
    other = start == 0
    rest, right = typed[start:], label[start:]
    if rest == right:
        return UNLIKE
    if rest[:2] == right[1::-1] and rest[2:] == right[2:] and len(right) > 1:
        return 0 + other
    if rest == right[1:]:
        return 0 + other
    if rest[1:] == right[1:]:
        return 2 + other
    return 4 + other if rest[1:] == right else UNLIKE


def _common_prefix(one: str, other: str) -> int:
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def _powers(count: int) -> Codes:
    """_BASE ** 0..count-1 modulo 2^64."""
    steps = np.full(count, _BASE, dtype=np.uint64)
    steps[:1] = 1
    return np.cumprod(steps, dtype=np.uint64)


def _finish(hashes: Codes) -> NDArray[np.uint32]:
    """The upper half after mixing, since the lower bits of a polynomial are weak."""
    mixed = (hashes ^ (hashes >> np.uint64(32))) * _MIX
    return (mixed >> np.uint64(32)).astype(np.uint32)


def hash_all(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Hashes of texts: sum of letter times power of its place from the end, mixed."""
    size = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    end = np.cumsum(size)
    letters = _codes("".join(texts))
    from_end = np.repeat(end, size) - np.arange(len(letters)) - 1
    terms = letters * _powers(int(size.max(initial=1)))[from_end]
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return _finish(total[end] - total[end - size])


def hashes_one_edit_away(text: str, alphabet: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Hashes of all strings one swap, drop, change or insertion away, and of the text itself.

    With very many different letters only the commonest are put in, so that the number of strings
    stays near 4,096.
    """
    code, count = _codes(text), len(text)
    share = max(_FEWEST_LETTERS, MAX_EDITS // (2 * count + 1))
    letter = alphabet[:share].astype(np.uint64)
    power = _powers(count + 2)
    up = power[count - 1 :: -1]
    terms = code * up
    tail = np.concatenate([np.cumsum(terms[::-1], dtype=np.uint64)[::-1], np.zeros(1, np.uint64)])
    whole = tail[0]
    # Exponents are one less in the beginning when a letter goes, and one more when one comes.
    shorter = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum(code[:-1] * up[1:], dtype=np.uint64)]
    )
    longer = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum(code * power[count:0:-1], dtype=np.uint64)]
    )
    dropped = shorter + tail[1:]
    difference = code[1:] - code[:-1]
    swapped = whole + difference * up[:-1] - difference * up[1:]
    changed = (whole - terms)[:, None] + letter * up[:, None]
    inserted = (longer + tail)[:, None] + letter * power[count::-1][:, None]
    return _finish(np.concatenate([tail[:1], dropped, swapped, changed.ravel(), inserted.ravel()]))


def _codes(text: str) -> Codes:
    """Code points."""
    return np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4").astype(np.uint64)
