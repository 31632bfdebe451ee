"""WordNet's database files -> synsets (names, categories, counts) and the links between them.

Legend: N synsets, L links. The format is documented in wndb(5WN), senseidx(5WN) and cntlist(5WN).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mulde.graph.labels import one_line

PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}

# One direction of each inverse pair: hyponyms, holonyms and members of a domain are left out,
# and an attribute is written from the noun to the adjective.
RELATIONS = {
    "@": "hypernym",
    "@i": "instance_hypernym",
    "%m": "member_meronym",
    "%p": "part_meronym",
    "%s": "substance_meronym",
    "=": "attribute",
    "*": "entailment",
    ">": "cause",
    "^": "also_see",
    "$": "verb_group",
    "&": "similar_to",
    "!": "antonym",
    "+": "derivationally_related_form",
    "\\": "pertainym",
    "<": "participle_of",
    ";c": "domain_topic",
    ";r": "domain_region",
    ";u": "domain_usage",
}
NAMES = tuple(RELATIONS.values())
SYMMETRIC = ("antonym", "derivationally_related_form", "similar_to", "verb_group")

# Field 2 of a data line numbers the lexicographer's file, a coarse category: lexnames(5WN).
_NOUNS = (
    "Tops act animal artifact attribute body cognition communication event feeling food group "
    "location motive object person phenomenon plant possession process quantity relation shape "
    "state substance time"
)
_VERBS = (
    "body change cognition communication competition consumption contact creation emotion motion "
    "perception possession social stative weather"
)
_FILES = (("adj", "all pert"), ("adv", "all"), ("noun", _NOUNS), ("verb", _VERBS), ("adj", "ppl"))
CATEGORIES = tuple(f"{part}.{name}" for part, names in _FILES for name in names.split())
LOCATION_FILE, OBJECT_FILE = CATEGORIES.index("noun.location"), CATEGORIES.index("noun.object")
_SENSE_TYPES = {"n": 1, "v": 2, "a": 3, "r": 4, "s": 5}
_SYNTACTIC_MARKER = re.compile(r"\((a|p|ip)\)$")

Key = tuple[str, int]  # part of speech, byte offset: how the files name a synset
Links = NDArray[np.int32]


@dataclass(frozen=True)
class Database:
    """All synsets, in the order of the files (nouns, verbs, adjectives, adverbs; by offset).

    Attributes:
        names: N names such as ``dog.n.01``: first lemma, part of speech (``s`` for a satellite
            adjective), place of the synset among the lemma's senses. Distinct.
        categories: int64 [N], the lexicographer's file, a place in ``CATEGORIES``.
        counts: int64 [N], how often the synset was seen in WordNet's tagged texts.
        links: int32 [L, 3], head, relation (a place in ``NAMES``), tail; distinct, sorted, none
            from a synset to itself, symmetric relations in both directions.
        labels: N texts such as ``dog, domestic dog, Canis familiaris``: all lemmas.
        glosses: N texts, the definition and its examples.
    """

    names: tuple[str, ...]
    categories: NDArray[np.int64]
    counts: NDArray[np.int64]
    links: Links
    labels: tuple[str, ...]
    glosses: tuple[str, ...]

    def row(self, name: str) -> int:
        """The row of a name; ``ValueError`` if there is none."""
        return self.names.index(name)

    def part(self, letter: str) -> NDArray[np.bool_]:
        """Which synsets [N] are of a part of speech; ``a`` counts satellites too."""
        letters = np.array([name.rsplit(".", 2)[1] for name in self.names])
        chosen: NDArray[np.bool_] = np.isin(letters, ["a", "s"] if letter == "a" else [letter])
        return chosen


@dataclass(frozen=True)
class _Line:
    """What we take from one line of a data file."""

    key: Key
    category: int
    letter: str
    words: tuple[tuple[str, int], ...]  # lemma in lower case, lexicographer's id
    pointers: tuple[tuple[str, Key], ...]  # symbol, target
    label: str  # lemmas as they are written
    gloss: str


def read_database(folder: Path) -> Database:
    """Read the folder that holds ``data.noun``, ``index.noun`` and their like, and ``cntlist.rev``.

    Raises:
        FileNotFoundError: if one of them is missing.
    """
    senses = {letter: _read_index(folder / f"index.{PARTS[letter]}") for letter in PARTS}
    lines = [
        line for letter in PARTS for line in _read_data(folder / f"data.{PARTS[letter]}", letter)
    ]
    rows = {line.key: row for row, line in enumerate(lines)}
    return Database(
        names=tuple(_name(line, senses) for line in lines),
        categories=np.array([line.category for line in lines]),
        counts=_read_counts(folder / "cntlist.rev", lines),
        links=_links(lines, rows),
        labels=tuple(line.label for line in lines),
        glosses=tuple(line.gloss for line in lines),
    )


def _read_index(path: Path) -> dict[str, list[int]]:
    """Lemma -> offsets of its synsets, most frequent sense first."""
    senses = {}
    for line in _lines(path):
        lemma, _, synsets, pointers, *rest = line.split()
        offsets = rest[int(pointers) + 2 :]
        assert len(offsets) == int(synsets), line
        senses[lemma] = [int(offset) for offset in offsets]
    return senses


def _read_data(path: Path, letter: str) -> Iterator[_Line]:
    for line in _lines(path):
        facts, _, gloss = line.partition(" | ")
        fields = facts.split()
        words_end = 4 + 2 * int(fields[3], 16)
        pointers_end = words_end + 1 + 4 * int(fields[words_end])
        lemmas = [_SYNTACTIC_MARKER.sub("", word) for word in fields[4:words_end:2]]
        lexical_ids = [int(number, 16) for number in fields[5:words_end:2]]
        targets = zip(
            fields[words_end + 3 : pointers_end : 4],
            fields[words_end + 2 : pointers_end : 4],
            strict=True,
        )
        keys = [(part, int(offset)) for part, offset in targets]
        yield _Line(
            key=(letter, int(fields[0])),
            category=int(fields[1]),
            letter=fields[2],
            words=tuple(zip(map(str.lower, lemmas), lexical_ids, strict=True)),
            pointers=tuple(zip(fields[words_end + 1 : pointers_end : 4], keys, strict=True)),
            label=", ".join(lemmas).replace("_", " "),
            gloss=one_line(gloss),
        )


def _lines(path: Path) -> Iterator[str]:
    """The lines after the licence, which begin with two spaces."""
    with path.open(encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith("  "))


def _name(line: _Line, senses: dict[str, dict[str, list[int]]]) -> str:
    lemma = line.words[0][0]
    part, offset = line.key
    return f"{lemma}.{line.letter}.{senses[part][lemma].index(offset) + 1:02}"


def _read_counts(path: Path, lines: list[_Line]) -> NDArray[np.int64]:
    """Counts [N]; senses that this edition no longer has are passed over."""
    rows = {
        (lemma, _SENSE_TYPES[line.letter], line.category, number): row
        for row, line in enumerate(lines)
        for lemma, number in line.words
    }
    counts = np.zeros(len(lines), dtype=np.int64)
    for line in _lines(path):
        sense, _, count = line.split()
        lemma, _, rest = sense.rpartition("%")
        kind, category, number = rest.split(":")[:3]
        row = rows.get((lemma, int(kind), int(category), int(number)))
        if row is not None:
            counts[row] += int(count)
    return counts


def _links(lines: list[_Line], rows: dict[Key, int]) -> Links:
    place = {symbol: number for number, symbol in enumerate(RELATIONS)}
    found = [
        (row, place[symbol], rows[target])
        for row, line in enumerate(lines)
        for symbol, target in line.pointers
        if symbol in place and not (symbol == "=" and line.key[0] == "a")
    ]
    links = np.array(found, dtype=np.int32)
    links = links[links[:, 0] != links[:, 2]]
    symmetric = np.isin(links[:, 1], [NAMES.index(name) for name in SYMMETRIC])
    return np.unique(np.concatenate([links, links[symmetric][:, ::-1]]), axis=0)
