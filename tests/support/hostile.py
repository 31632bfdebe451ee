"""Hostile names that a graph may have, and a bundle that is full of them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from mulde.bundle.entities.descriptions import MAX_DESCRIPTION_BYTES, Descriptions
from mulde.bundle.entities.label_search import SearchIndex
from mulde.bundle.entities.vocabulary import Vocabulary
from mulde.bundle.files import DESCRIPTIONS, SEARCH, TYPES, VOCABULARY
from mulde.storage.strings import MAX_BYTES
from tests.serving.resealing import reseal
from tests.support.toy import Toy, toy_bundle

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "\x9b2Jcsi of one byte",
    "over\rwritten\x08\x0c\x0b",
    '"}\x85{"event": "forged"}',
    'mulde_forged_total{a="b"} 1\u2028',
    "\u202egpj.exe\u2066\u200f",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[/]",
    "[bold red]markup[/bold red][link=https://example.org]x[/link]",
    "| cell | `code` | [link](javascript:alert(1)) | **bold** |",
    "=cmd|' /C calc'!A0",
    "${jndi:ldap://127.0.0.1/a}",
    "%s%n%x {0} {__class__}",
    "' OR 1=1; DROP TABLE entities; --",
    "../../../../etc/passwd",
    "a\ttab",
    "\ufeff\u200b\u2060invisible",
    "Z\u0351\u036b\u0343\u036a" * 20,
    "\U000e0041\U000e0042tags",
    "A" * MAX_BYTES,
    "\u202e" * (MAX_BYTES // 3),
    "\U0010ffff" * (MAX_BYTES // 4),
)
"""Everything that a vocabulary can keep; NUL, line feeds and longer names are refused by graphs."""

RELATION = "\x1b[5m<b>rel|ation</b>[/]\u202e"
SHARED_NAME = "\x1b[7mtwin\u202e"
"""A label that many entities share, each with an id of the greatest length."""

SHARING = 12

LONGEST_TEXT = "D" * MAX_DESCRIPTION_BYTES
DESCRIBED = HOSTILE[10]
"""The entity with the longest description; that of others is their name."""


def hostile_bundle(folder: Path) -> Toy:
    """A bundle of hostile names: each of ``HOSTILE`` is an id, its own label and description."""
    ids = sorted([*HOSTILE, *(f"{n:02}" + "é" * (MAX_BYTES // 2 - 1) for n in range(SHARING))])
    labels = [name if name in HOSTILE else SHARED_NAME for name in ids]
    toy = toy_bundle(folder, entities=len(ids), relations=1, name="toy")
    vocabulary = Vocabulary.build(ids, labels, [RELATION], [RELATION])
    for name in (VOCABULARY, SEARCH, TYPES):  # types name relations
        (toy.path / name).unlink()
    vocabulary.write(toy.path / VOCABULARY)
    SearchIndex.build(vocabulary.entities.labels).write(toy.path / SEARCH)
    texts = [LONGEST_TEXT if name == DESCRIBED else name for name in ids]
    Descriptions.build(texts).write(toy.path / DESCRIPTIONS)
    reseal(toy.path)
    return toy


def steering(text: str) -> set[str]:
    """Characters other than line feeds that could steer a terminal or hide what is written."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")}
