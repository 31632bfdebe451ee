"""How far a graph has moved from the model that is served: counts, and ranks of newer facts.

The newest facts are ranked as questions before the model knows them (prequential evaluation,
Dawid 1984): their MRR says what the served model is worth today, that of the test split what it was
worth when it was made.

Shape letters: n facts, B ranked facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mulde.bundle.facts.known_facts import KnownFacts
from mulde.typing import Float64, Offsets, Rows
from serving.engine.engine import Engine

if TYPE_CHECKING:
    from mulde.graph.facts import Facts

MOST_RANKED = 5000
"""Of more facts, evenly spread ones are ranked."""
GROWN, UNSEEN, WORSE = 0.1, 0.2, 0.8
"""Recommend an update from so many new facts per known fact, or from such a share of new facts with
an unseen name, or if their MRR is below such a share of the test split's."""
FEW = 20
"""From fewer facts no share is read."""


@dataclass(frozen=True)
class Drift:
    """What newer facts say about a served model.

    Attributes:
        facts: that were given.
        new: of them, those that the bundle does not know.
        entities, relations: names that the model has never seen.
        unseen: new facts with such a name; the model cannot rank them.
        ranked: new facts that were ranked, in both directions.
        mrr: of these, filtered by all known and new facts; None without any.
        tested: MRR of the test split when the bundle was made.
        known: facts that the bundle was trained on and tested with.
    """

    facts: int
    new: int
    entities: int
    relations: int
    unseen: int
    ranked: int
    mrr: float | None
    tested: float | None
    known: int

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the model should be updated; empty if it need not be."""
        if self.new < FEW:
            return ()
        found = []
        if self.new >= GROWN * self.known:
            share = f"{self.new / max(1, self.known):.0%}"
            found.append(f"new facts are {share} of the known ones (limit {GROWN:.0%})")
        if self.unseen >= UNSEEN * self.new:
            share = f"{self.unseen / self.new:.0%}"
            found.append(f"{share} of the new facts have an unseen name (limit {UNSEEN:.0%})")
        if self.ranked >= FEW and self.mrr is not None and self.tested is not None:
            limit = WORSE * self.tested
            if self.mrr < limit:
                found.append(f"MRR of new facts is {self.mrr:.3f} (limit {limit:.3f})")
        return tuple(found)


def measure_drift(engine: Engine, facts: Facts) -> Drift:
    """Rank the facts that a bundle does not know, and count names that it has never seen."""
    manifest, names = engine.manifest, engine.bundle.vocabulary
    entity_ids, relation_ids = (ids.to_pylist() for ids in (facts.entity_ids, facts.relation_ids))
    entity = names.entities.rows_of_ids(entity_ids)
    relation = names.relations.rows_of_ids(relation_ids)
    head, kind, tail = facts.triples.T
    rows = np.stack([entity[head], relation[kind], entity[tail]], axis=1)
    seen = (rows >= 0).all(axis=1)
    known = engine.bundle.known
    fresh = np.ones(len(rows), dtype=bool)
    if known is not None:
        fresh[seen] = ~known.contains(*rows[seen].T)
    askable = rows[seen & fresh]
    few = min(len(askable), MOST_RANKED)
    ranked = askable[np.linspace(0, len(askable) - 1, few).astype(np.int64)]
    quality = manifest.quality.get("test", {}).get("total", {})
    ranks = _ranks(engine, ranked, askable) if few else np.zeros(0)
    return Drift(
        facts=len(rows),
        new=int(fresh.sum()),
        entities=int((entity < 0).sum()),
        relations=int((relation < 0).sum()),
        unseen=int((fresh & ~seen).sum()),
        ranked=few,
        mrr=float(np.mean(1 / ranks)) if few else None,
        tested=quality.get("mrr"),
        known=sum(manifest.dataset.counts.values()),
    )


def _ranks(engine: Engine, ranked: Rows, newer: Rows) -> Float64:
    """Ranks [2 B] of facts [B, 3] as tails and as heads, filtered by known and newer facts."""
    count, size = engine.manifest.relations, engine.manifest.entities
    head, relation, tail = ranked.T
    entities = np.concatenate([head, tail])
    relations = np.concatenate([relation, relation + count])
    also = KnownFacts.build(newer, size, count).of_many(entities, relations)
    known = engine.bundle.known
    both = also if known is None else _merged(known.of_many(entities, relations), also)
    return engine.ranks(entities, relations, np.concatenate([tail, head]), both)


def _merged(
    one: tuple[Offsets, np.ndarray], other: tuple[Offsets, np.ndarray]
) -> tuple[Offsets, np.ndarray]:
    """Disjoint answers of the same queries, as compressed rows."""
    places = np.arange(len(one[0]) - 1)
    owners = np.concatenate([np.repeat(places, np.diff(offsets)) for offsets, _ in (one, other)])
    rows = np.concatenate([one[1], other[1]])
    return one[0] + other[0], rows[np.argsort(owners, kind="stable")]
