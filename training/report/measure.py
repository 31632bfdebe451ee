"""What a report shows that a manifest does not hold: measured on the test split.

Shape letters: n test triples, N items, R relations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mulde.evaluation.calibration import Calibration
from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.reliability import Reliability, reliability
from mulde.graph.graph import Graph
from mulde.typing import Float64, Mask, Rows
from serving.engine.engine import Engine
from training.evaluate import scores_of
from training.export.calibration.calibrate import TOP, observe_ranked
from training.export.calibration.corruption import corrupt
from training.export.served import Served
from training.recipe_file import read_recipe
from training.train import load_scorer, read_record, stages

MOST_TEST = 3000
"""Test triples that are ranked."""
MOST_RELATIONS = 20
"""Relations of which teachers are compared, those with the most test triples."""
DEGREES = (0, 1, 2, 4, 8, 16, 32, 64)
"""Least number of train facts of each group of entities."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class GroupQuality:
    """MRR of a group of test triples, for tails and for heads; nan where there are none."""

    name: str
    count: int
    tail: float
    head: float


@dataclass(frozen=True)
class TestQuality:
    """Quality on test, split up.

    Attributes:
        triples: [n, 3], those that were ranked.
        ranks: [2n], of tails, then of heads, as new facts are ranked.
        by_relation: the most frequent relations first.
        by_degree: by the number of train facts of the right answer.
        probability, plausibility: reliability; None without calibration.
    """

    triples: Rows
    ranks: Float64
    by_relation: list[GroupQuality]
    by_degree: list[GroupQuality]
    probability: Reliability | None
    plausibility: Reliability | None


@dataclass(frozen=True)
class ModelCurve:
    """One trained model of a run: name, minutes and valid MRR of its validations."""

    name: str
    minutes: list[float]
    mrr: list[float]


def measure_test(engine: Engine, graph: Graph, report: Report) -> TestQuality:
    """Rank test and compare probabilities with what is true."""
    served = Served(engine)
    report("ranking test")
    triples, task = sample_test(graph)
    ranks = task.ranks(served.new_facts)
    calibration = engine.bundle.calibration
    report("comparing probabilities")
    return TestQuality(
        triples=triples,
        ranks=ranks,
        by_relation=_by_relation(graph, triples[:, 1], ranks),
        by_degree=_by_degree(graph, triples, ranks),
        probability=None if calibration is None else _probability(calibration, served, task),
        plausibility=(
            None if calibration is None else _plausibility(calibration, served, graph, triples)
        ),
    )


def sample_test(graph: Graph) -> tuple[Rows, RankingTask]:
    """At most ``MOST_TEST`` test triples [n, 3], the same at each call, and their ranking task."""
    order = np.sort(np.random.default_rng(0).permutation(len(graph.test))[:MOST_TEST])
    return graph.test[order].astype(np.int64), _task(RankingTask.of(graph, "test"), order)


def _task(task: RankingTask, order: Rows) -> RankingTask:
    """Some of the triples, tails first."""
    both = np.concatenate([order, len(task.target) // 2 + order])
    return replace(
        task, entity=task.entity[both], relation=task.relation[both], target=task.target[both]
    )


def _by_relation(graph: Graph, relation: Rows, ranks: Float64) -> list[GroupQuality]:
    counts = np.bincount(relation, minlength=graph.num_relations)
    rows = np.argsort(-counts, kind="stable")
    groups = [(graph.relation_labels[row], relation == row) for row in rows if counts[row]]
    return [_group(name, own, own, ranks) for name, own in groups]


def _by_degree(graph: Graph, triples: Rows, ranks: Float64) -> list[GroupQuality]:
    """Groups by the degree of the right answer: the tail of a tail query, the head of a head's."""
    degree = np.bincount(graph.train[:, [0, 2]].ravel(), minlength=graph.num_entities)
    groups = []
    for low, high in zip(DEGREES, (*DEGREES[1:], 1 << 62), strict=True):
        name = f"{low}" if high == low + 1 else f"{low} to {high - 1}"
        name = f"{low} or more" if high > 1 << 60 else name
        answers = degree[triples[:, 2]], degree[triples[:, 0]]
        tail, head = ((low <= one) & (one < high) for one in answers)
        if tail.any() or head.any():
            groups.append(_group(f"{name} train facts", tail, head, ranks))
    return groups


def _group(name: str, tail: Mask, head: Mask, ranks: Float64) -> GroupQuality:
    tails, heads = (1 / part for part in np.split(ranks, 2))
    found = [float(part[own].mean()) if own.any() else float("nan") for part, own in
             ((tails, tail), (heads, head))]  # fmt: skip
    return GroupQuality(name, int(max(tail.sum(), head.sum())), *found)


def _probability(calibration: Calibration, served: Served, task: RankingTask) -> Reliability:
    ranked = observe_ranked(task, served.new_facts, served.no_self_loops)
    top = ranked.place < TOP
    found = calibration.probability(ranked.scores[top], ranked.relation[top], priors=True)
    return reliability(found, ranked.true[top])


def _plausibility(
    calibration: Calibration, served: Served, graph: Graph, triples: Rows
) -> Reliability:
    wrong, owner = corrupt(graph, triples, np.random.default_rng(5))
    every = np.concatenate([triples, wrong])
    tails, heads, biases = served.triples(*every.T)
    found = calibration.plausibility(tails, heads, every[:, 1], biases)
    share = 1 / np.bincount(owner, minlength=len(triples))[owner]
    weight = np.concatenate([np.ones(len(triples)), share])
    return reliability(found, np.arange(len(every)) < len(triples), weight)


def read_curves(run: Path) -> list[ModelCurve]:
    """Return the validations of the run's teachers, Junior and baseline, where there are some."""
    curves = []
    for stage in stages(read_recipe(run / "recipe.toml"), run):
        if (stage.folder / "record.jsonl").is_file():
            record = [row for row in read_record(stage.folder) if "mrr" in row]
            minutes = [row["seconds"] / 60 for row in record]
            curves.append(ModelCurve(stage.name, minutes, [row["mrr"] for row in record]))
    return curves


def measure_models(
    run: Path, graph: Graph, report: Report
) -> tuple[list[str], list[tuple[str, list[float]]]]:
    """Return names of a run's models, and per relation each one's MRR on valid, scorer alone."""
    task = RankingTask.of(graph, "valid")
    order = np.sort(np.random.default_rng(0).permutation(len(graph.valid))[:MOST_TEST])
    task, names, columns = _task(task, order), [], []
    for stage in stages(read_recipe(run / "recipe.toml"), run):
        if (stage.folder / "best.pt").is_file():
            report(f"ranking valid with {stage.name}")
            scores: Scores = scores_of(load_scorer(stage.folder / "best.pt", graph)[0])
            names.append(stage.name)
            columns.append(1 / task.ranks(scores))
    relation = task.relation % graph.num_relations
    counts = np.bincount(relation, minlength=graph.num_relations)
    rows = np.argsort(-counts, kind="stable")[:MOST_RELATIONS]
    table = [
        (graph.relation_labels[row], [float(one[relation == row].mean()) for one in columns])
        for row in rows
        if counts[row] and columns
    ]
    return names, table
