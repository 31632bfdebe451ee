"""Explain triples: score, prior, plausibility; facts that support them, paths, similar facts.

Shape letters: B triples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.typing import Float64, Mask, Rows
from serving.engine.engine import Engine
from serving.engine.explanation.paths import Check, FoundPaths, find_paths
from serving.engine.explanation.similar_facts import SimilarFacts, find_similar_facts
from serving.engine.explanation.supporting_facts import SupportingFacts, find_supporting_facts
from serving.engine.scoring import priors_of
from serving.engine.triples import plausibilities


@dataclass(frozen=True)
class Wanted:
    """The most paths, similar facts and supporting facts of a triple."""

    paths: int = 3
    similar: int = 3
    supporting: int = 3


@dataclass(frozen=True)
class TripleExplanations:
    """What speaks for and against triples.

    Attributes:
        tail_scores, head_scores: [B], of the tail and of the head as an answer, scorer alone.
        tail_priors, head_priors: [B], relation priors, added to those when new facts are ranked.
        plausibilities: [B]; None where the bundle has no calibration.
        known: [B], whether the triple is a known fact.
        known_tails, known_heads: [B], known facts with the same head and relation, or the same
            relation and tail; the triple itself does not count.
        self_loops: [B], see ``Engine.self_loops``.
        paths: None where the bundle has no rules.
        similar: known facts like the triple.
        supporting: known facts of head and tail that the score rests on.
    """

    tail_scores: Float64
    head_scores: Float64
    tail_priors: Float64
    head_priors: Float64
    plausibilities: Float64 | None
    known: Mask
    known_tails: Rows
    known_heads: Rows
    self_loops: Mask
    paths: FoundPaths | None
    similar: SimilarFacts
    supporting: SupportingFacts


def explain(
    engine: Engine,
    heads: Rows,
    relations: Rows,
    tails: Rows,
    wanted: Wanted,
    check: Check,
) -> TripleExplanations:
    """Explain triples [B] of an engine that has known facts; relations in [0, R).

    Args:
        engine: of the bundle.
        heads: [B] rows.
        relations: [B] rows.
        tails: [B] rows.
        wanted: how much of each.
        check: called between steps; what it raises ends the work.
    """
    bundle, facts = engine.bundle, engine.amendments.known
    back = relations + engine.num_relations
    assert facts is not None
    triples = heads, relations, tails
    tail_scores, tail_priors = _scored(engine, heads, relations, tails)
    head_scores, head_priors = _scored(engine, tails, back, heads)
    known = facts.contains(*triples)
    check()
    chances = None
    if bundle.calibration is not None:
        chances = plausibilities(engine, triples, (tail_scores, head_scores))
    found = None
    if bundle.rules is not None:
        found = find_paths(facts, bundle.rules, *triples, wanted.paths, check)
    check()
    return TripleExplanations(
        tail_scores=tail_scores,
        head_scores=head_scores,
        tail_priors=tail_priors,
        head_priors=head_priors,
        plausibilities=chances,
        known=known,
        known_tails=_count(engine, heads, relations) - known,
        known_heads=_count(engine, tails, back) - known,
        self_loops=engine.self_loops(*triples),
        paths=found,
        similar=find_similar_facts(engine, *triples, wanted.similar),
        supporting=find_supporting_facts(engine, *triples, wanted.supporting),
    )


def _scored(
    engine: Engine, entities: Rows, directions: Rows, answers: Rows
) -> tuple[Float64, Float64]:
    """Scores by the scorer alone and relation priors of answers to (entity, direction, ?), [B]."""
    query, rows = engine.encode(entities, directions), engine.answer_rows(answers)
    owners, wide = np.arange(len(entities)), rows.astype(np.float64)
    priors = priors_of(query, owners, wide, engine.manifest.layout)
    return engine.score(entities, directions, answers), priors


def _count(engine: Engine, entities: Rows, directions: Rows) -> Rows:
    """Known answers [B] of (entity, direction, ?)."""
    known = engine.amendments.known
    assert known is not None
    return np.diff(known.of_many(entities, directions)[0])
