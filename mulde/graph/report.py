"""What was read, what looks wrong in a graph, and what was done about it.

Shape letters: n facts, E entities, R relations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mulde.storage.printable import printable

if TYPE_CHECKING:
    from mulde.graph.facts import Facts

LIKE = 0.8
"""Relations whose facts agree to this share count as near-duplicate, inverse or symmetric."""
LEAST_SHARED = 3
MOST_FACTS_OF_PAIR = 64
_SHOWN = 10


@dataclass
class Counts:
    """What readers count.

    Attributes:
        triples: read, before repetitions were dropped.
        duplicates: repeated triples, kept once.
        cleaned_names: names in which tabs or line ends became spaces.
        left_out: by reason, what was read and is no fact.
        sources: one line for each file: its format and columns.
    """

    triples: int = 0
    duplicates: int = 0
    cleaned_names: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    sources: list[str] = field(default_factory=list)

    def left_out_text(self) -> str:
        """``; left out: 3 literals`` where something was left out."""
        parts = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        return f"; left out: {parts}" if parts else ""


@dataclass(frozen=True)
class Finding:
    """Something to know about a graph.

    Attributes:
        name: such as ``self_loops``.
        count: how many.
        found: what was found, in one sentence.
        done: what was done about it, or what to do.
    """

    name: str
    count: int
    found: str
    done: str


@dataclass(frozen=True)
class Pattern:
    """Two relations, or one, that say the same.

    Attributes:
        name: ``symmetric``, ``inverse`` or ``near_duplicate``.
        relations: one id for a symmetric relation, else two.
        share: of the larger relation's facts, those that the other one has too.
    """

    name: str
    relations: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class GraphReport:
    """All about a graph as it was read."""

    sources: tuple[str, ...]
    triples: int
    facts: int
    entities: int
    relations: int
    left_out: dict[str, int]
    findings: tuple[Finding, ...]
    patterns: tuple[Pattern, ...]

    def json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    def text(self) -> str:
        """The same as lines."""
        size = f"{self.entities:,} entities, {self.relations:,} relations"
        lines = [*self.sources, f"{self.triples:,} triples read: {self.facts:,} facts, {size}"]
        lines += [f"no facts: {count:,} {reason}" for reason, count in self.left_out.items()]
        lines += [f"{one.found}: {one.done}" for one in self.findings]
        if self.patterns:
            lines.append("relations that say the same (data split keeps their facts together):")
        lines += [f"  {_pattern_text(one)}" for one in self.patterns[:_SHOWN]]
        more = len(self.patterns) - _SHOWN
        lines += [f"  and {more:,} more (--json shows all)"] if more > 0 else []
        return "\n".join(map(printable, lines))


def _pattern_text(one: Pattern) -> str:
    words = {"symmetric": "is symmetric", "inverse": "are inverse"}
    what = words.get(one.name, "are near-duplicates")
    return f"{' and '.join(one.relations)} {what}: {one.share:.0%} of the facts"


def report_on(facts: Facts, counts: Counts) -> GraphReport:
    """What a user should know about facts before training."""
    return GraphReport(
        sources=tuple(counts.sources),
        triples=counts.triples,
        facts=len(facts),
        entities=facts.size[0],
        relations=facts.size[1],
        left_out=dict(counts.left_out),
        findings=tuple(one for one in _findings(facts, counts) if one.count),
        patterns=tuple(find_patterns(facts)),
    )


def _findings(facts: Facts, counts: Counts) -> list[Finding]:
    loops = int((facts.triples[:, 0] == facts.triples[:, 2]).sum())
    return [
        Finding("duplicates", counts.duplicates, f"{counts.duplicates:,} repeated triples",
                "kept once"),
        Finding("self_loops", loops, f"{loops:,} facts join an entity with itself", "kept"),
        Finding("cleaned_names", counts.cleaned_names,
                f"{counts.cleaned_names:,} names hold tabs or line ends", "made spaces"),
        _swapped(facts),
        *_constant(facts),
        _mixed_encoding(facts),
        _spellings(facts),
    ]  # fmt: skip


def _swapped(facts: Facts) -> Finding:
    """More relations than entities, and the columns look exchanged."""
    import pyarrow.compute as pc

    entities, relations = facts.size
    few, many = sorted((facts.relation_ids, facts.entity_ids), key=len)  # ids are distinct
    shared = pc.sum(pc.is_in(many, value_set=few)).as_py() or 0
    is_head, is_tail = (np.bincount(facts.triples[:, c], minlength=entities) > 0 for c in (0, 2))
    joined = bool((is_head & is_tail).any())
    suspicious = 2 * shared > relations or (relations > entities and not joined)
    found = f"{relations:,} relations, {shared:,} of them entities too, and {entities:,} entities"
    done = "kept; if two columns are exchanged, name them, such as --columns 1,3,2"
    return Finding("swapped_columns", relations if suspicious else 0, found, done)


def _constant(facts: Facts) -> list[Finding]:
    names = ("subject", "predicate", "object")
    ids = (facts.entity_ids, facts.relation_ids, facts.entity_ids)
    found = []
    for place, (name, values) in enumerate(zip(names, ids, strict=True)):
        column = facts.triples[:, place]
        if len(facts) > 1 and (column == column[0]).all():
            text = f"the {name} is always {values[int(column[0])].as_py()!r}"
            found.append(Finding(f"constant_{name}", 1, text, "kept; look at the columns"))
    return found


def _mixed_encoding(facts: Facts) -> Finding:
    """UTF-8 that was once read as Latin-1: two odd characters for each accented one."""
    import pyarrow.compute as pc

    odd = pc.match_substring_regex(facts.entity_ids, "[ÂÃ][\u0080-\u00bf]")
    count = pc.sum(odd).as_py() or 0
    example = facts.entity_ids.filter(odd)[0].as_py() if count else ""
    found = f"{count:,} names look like UTF-8 that was read as Latin-1, such as {example!r}"
    return Finding("mixed_encodings", count, found, "kept; write the file again in UTF-8")


def _spellings(facts: Facts) -> Finding:
    """Names that differ in white space at their ends or in how accents are written."""
    import pyarrow.compute as pc

    ascii_alone = pc.all(pc.string_is_ascii(facts.entity_ids)).as_py()
    plain = facts.entity_ids if ascii_alone else pc.utf8_normalize(facts.entity_ids, form="NFC")
    plain = pc.utf8_trim_whitespace(plain)
    changed = pc.any(pc.not_equal(plain, facts.entity_ids)).as_py()
    count = len(plain) - pc.count_distinct(plain).as_py() if changed else 0
    found = f"{count:,} entities differ from another one only in spaces or in how accents are coded"
    return Finding("spellings", count, found, "kept apart")


def find_patterns(
    facts: Facts, *, like: float = LIKE, least_shared: int = LEAST_SHARED
) -> list[Pattern]:
    """Symmetric, inverse and near-duplicate relations, the clearest first.

    Facts are sorted by their pair of entities; those of one pair are compared with each other. Of
    pairs with more than ``MOST_FACTS_OF_PAIR`` facts, only so many neighbours are compared.
    """
    entities, relations = facts.size
    head, relation, tail = facts.triples.T
    keys = np.minimum(head, tail).astype(np.int64)
    keys *= entities
    keys += np.maximum(head, tail)
    keys *= 2 * relations  # below 2^63, as those of keys_of are below 2^62
    keys += 2 * relation + (head < tail)
    keys = np.sort(keys[head != tail])
    if not len(keys):
        return []
    pair, rest = np.divmod(keys, 2 * relations)
    relation, forward = rest >> 1, (rest & 1).astype(bool)
    sizes = np.bincount(relation, minlength=relations)
    same, opposite = _shared(pair, relation, forward, relations)
    found = _patterns(facts, sizes, same, opposite)
    kept = (one for shared, one in found if one.share >= like and shared >= least_shared)
    return sorted(kept, key=lambda one: (-one.share, one.name, one.relations))


def _shared(
    pair: NDArray[np.int64], relation: NDArray[np.int64], forward: NDArray[np.bool_], relations: int
) -> tuple[Counter[int], Counter[int]]:
    """How many facts two relations share, by low * R + high; the same way and the opposite way."""
    found: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    for lag in range(1, MOST_FACTS_OF_PAIR):
        together = np.flatnonzero(pair[lag:] == pair[:-lag])
        if not len(together):
            break
        one, other = relation[together], relation[together + lag]
        key = np.minimum(one, other) * relations + np.maximum(one, other)
        agree = forward[together] == forward[together + lag]
        for counter, where in zip(found, (agree, ~agree), strict=True):
            keys, counts = np.unique(key[where], return_counts=True)
            counter.update(dict(zip(keys.tolist(), counts.tolist(), strict=True)))
    return found


def _patterns(
    facts: Facts, sizes: NDArray[np.int64], same: Counter[int], opposite: Counter[int]
) -> Iterator[tuple[int, Pattern]]:
    """Each pair of relations that shares facts, and how many."""
    ids, relations = facts.relation_ids, facts.size[1]
    for name, counter in (("near_duplicate", same), ("inverse", opposite)):
        for key, shared in counter.items():
            low, high = divmod(key, relations)
            alone = low == high  # each pair of mirrored facts was counted once
            share = (2 if alone else 1) * shared / max(sizes[low], sizes[high])
            names = (low,) if alone else (low, high)
            yield (
                shared,
                Pattern(
                    "symmetric" if alone else name,
                    tuple(ids[row].as_py() for row in names),
                    float(share),
                ),
            )
