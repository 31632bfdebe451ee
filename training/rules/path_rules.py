"""Mine the path rules of every relation, within a bounded amount of work.

Shape letters: n facts, E entities, R relations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mulde.bundle.facts.path_rules import LONGEST, NO_STEP, PathRules
from mulde.graph.graph import Graph
from mulde.typing import Rows
from training.rules.mine import closing, confidences, costs
from training.rules.walks import Path, Walks

Report = Callable[[str], None]
Weighed = tuple[Path, int, float]
"""A path, how many facts it connects, and its confidence."""


_LEAST_FACTS = 20
"""Facts of a relation that must be affordable with three steps; else two steps are looked at."""


@dataclass(frozen=True)
class RuleSettings:
    """How much of a graph is looked at, and what is kept.

    Attributes:
        facts: of each relation, at most.
        walks: of two steps from those facts' entities, over all relations together, at most.
        heads: from which confidences are measured, over all relations together, at most.
        heads_each: the same for each relation.
        considered: paths of each relation whose confidence is measured, the most frequent first.
        considered_in_all: the same over all relations together, but ``kept`` of each at least.
        least_confidence: of a rule.
        kept: rules of each relation, at most.
    """

    facts: int = 4000
    walks: int = 40_000_000
    heads: int = 20_000
    heads_each: int = 500
    considered: int = 200
    considered_in_all: int = 3000
    least_confidence: float = 0.01
    kept: int = 64


DEFAULTS = RuleSettings()


def mine_path_rules(
    graph: Graph,
    settings: RuleSettings = DEFAULTS,
    *,
    seed: int = 0,
    report: Report = lambda step: None,
) -> PathRules:
    """Return the paths of up to three steps that connect train facts of each relation.

    Self-loops are left out, and a walk visits no entity twice, so a fact never supports itself.

    Args:
        graph: whose train split is looked at.
        settings: bounds of work and size; the time grows with the relations, hardly with E.
        seed: of the samples.
        report: is told of every tenth of the relations.
    """
    walks = Walks(graph.train, graph.num_entities, graph.num_relations)
    count = max(1, graph.num_relations)
    walks_each = settings.walks // count
    heads_each = min(settings.heads_each, settings.heads // count + 1)
    found: list[list[Weighed]] = []
    sampled: list[int] = []
    for relation in range(graph.num_relations):
        if relation % max(1, count // 10) == 0:
            report(f"mining rules: relation {relation + 1} of {graph.num_relations}")
        generator = np.random.default_rng([seed, relation])
        rules, looked_at = _mine_relation(
            walks, relation, settings, walks_each, heads_each, generator
        )
        found.append(rules)
        sampled.append(looked_at)
    return _pack(found, sampled)


def _mine_relation(
    walks: Walks,
    relation: int,
    settings: RuleSettings,
    walks_each: int,
    heads_each: int,
    generator: np.random.Generator,
) -> tuple[list[Weighed], int]:
    """The rules of one relation, most confident first, and how many facts were looked at."""
    head, tail = walks.pairs(relation)
    order = generator.permutation(len(head))[: settings.facts]
    head, tail = head[order], tail[order]
    longest = _longest(walks, head, tail, walks_each)
    support, looked_at = closing(walks, head, tail, relation, longest, walks_each)
    most = max(settings.kept, settings.considered_in_all // max(1, walks.relations))
    frequent = sorted(support, key=lambda path: (-support[path], path))
    frequent = frequent[: min(most, settings.considered)]
    heads = generator.permutation(np.unique(head))[:heads_each]
    measured = confidences(walks, heads, frequent, walks.edges[relation])
    rules = [
        (path, support[path], measured[path])
        for path in frequent
        if measured[path] >= settings.least_confidence
    ]
    rules.sort(key=lambda rule: (-rule[2] * np.log1p(rule[1]), rule[0]))
    rules = rules[: settings.kept]
    rules.sort(key=lambda rule: (-rule[2], -rule[1], rule[0]))
    return rules, looked_at


def _longest(walks: Walks, head: Rows, tail: Rows, walks_each: int) -> int:
    """3 steps, or 2 where the walks allowed are too few for some facts, as in a dense graph."""
    if not len(head):
        return LONGEST
    dear = np.median(costs(walks, head, tail, LONGEST)[1]) * min(len(head), _LEAST_FACTS)
    return LONGEST if dear <= walks_each else LONGEST - 1


def _pack(found: list[list[Weighed]], sampled: list[int]) -> PathRules:
    flat = [rule for rules in found for rule in rules]
    steps = np.full((len(flat), LONGEST), NO_STEP, dtype=np.int32)
    for row, (path, _, _) in enumerate(flat):
        steps[row, : len(path)] = path
    return PathRules(
        num_relations=len(found),
        offsets=np.cumsum([0, *map(len, found)]).astype(np.uint32),
        steps=steps,
        support=np.array([support for _, support, _ in flat], dtype=np.uint32),
        confidence=np.array([confidence for _, _, confidence in flat], dtype=np.float32),
        sampled=np.array(sampled, dtype=np.uint32),
    )
