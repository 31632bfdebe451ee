"""How fast the training loop is, and what its time goes into; for `benchmarks.training_speed`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph
from training.distillation.objective import HardLabels
from training.distillation.queries import QuerySet
from training.evaluate import scores_of
from training.loop import Progress, Run
from training.optimiser import Optimiser
from training.recipe import ScorerSettings, Training
from training.scorers import build_scorer

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::addmm_", "aten::mv")
NUMBERS = 32
LONG = 1000
SAMPLED: dict[str, Any] = {
    "epochs": LONG,
    "batch": 300,
    "negatives": 255,
    "negative_weight": 30.0,
    "rate": 5e-3,
    "validate_every": LONG,
}
MODELS = {
    "RotH": (
        ScorerSettings("RotH", NUMBERS, score="linear", spread=0.05),
        Training(**SAMPLED),
    ),
    "TransH": (
        ScorerSettings("TransH", NUMBERS, score="linear", spread=0.05),
        Training(**SAMPLED),
    ),
    "RESCAL": (
        ScorerSettings("RESCAL", NUMBERS, score="bilinear", spread=0.1),
        Training(LONG, 300, "cross-entropy", penalty=0.02, rate=3e-3, validate_every=LONG),
    ),
    "ComplEx": (
        ScorerSettings("ComplEx", NUMBERS, score="bilinear", spread=0.01),
        Training(
            LONG, 300, "cross-entropy", 0.005, optimiser="adagrad", rate=0.1, validate_every=LONG
        ),
    ),
}


class _Enough(Exception):  # noqa: N818 - what it does to a run
    """Ends a run from its report."""


def objective_of(graph: Graph, model: ScorerSettings, training: Training) -> HardLabels:
    """A fresh scorer and what its training minimises."""
    scorer = build_scorer(
        model.scorer,
        entities=graph.num_entities,
        relations=graph.num_relations,
        dimension=model.dimension,
        score=model.score,
        spread=model.spread,
        seed=1,
    )
    return HardLabels(scorer, training)


def queries_of(graph: Graph) -> QuerySet:
    """Its training queries."""
    return QuerySet.of(graph.train, graph.num_relations, graph.num_entities)


def trained(graph: Graph, name: str, seconds: float) -> dict[str, Any]:
    """Train one of ``MODELS`` in the loop that recipes use, for so many processor seconds.

    Returns:
        Queries and triples a second (of the median epoch), and (seconds, valid MRR) per epoch.
    """
    model, training = MODELS[name]
    objective = objective_of(graph, model, training)
    queries, valid = queries_of(graph), RankingTask.of(graph, "valid")
    curve: list[tuple[float, float]] = []
    spent, mark = 0.0, process_time()

    def report(progress: Progress) -> None:
        nonlocal spent, mark
        spent += process_time() - mark
        curve.append((spent, valid.quality(scores_of(objective.scorer))["total"]["mrr"]))
        if spent >= seconds:
            raise _Enough
        mark = process_time()

    with TemporaryDirectory() as folder, suppress(_Enough):
        Run(objective, queries, valid, training, Path(folder), {}, 1).fit(report)
    ends = [0.0, *(second for second, _ in curve)]
    epoch = median(after - before for before, after in pairwise(ends))
    entire = training.loss == "cross-entropy"
    return {
        "name": "mulde",
        "model": f"{name}-{NUMBERS}",
        "batch": f"{training.batch} queries",
        "negatives": "all entities" if entire else training.negatives,
        "queries_per_s": len(queries) / epoch,
        "triples_per_s": 2 * len(graph.train) / epoch,
        "curve": curve,
    }


def share_of_products(graph: Graph, name: str, steps: int = 5) -> dict[str, float]:
    """Shares of a step's processor time by operator: matrix products, and the largest others."""
    step = _Step(graph, name)
    step.run(5)
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        step.run(steps)
    spent = {event.key: event.self_cpu_time_total for event in watched.key_averages()}
    total = sum(spent.values())
    # The fused cross entropy multiplies inside one operator of ours, whose parts are listed too.
    products = sum(spent.get(key, 0.0) for key in PRODUCTS) / total
    others = sorted((key for key in spent if key not in PRODUCTS), key=lambda key: -spent[key])
    return {"matrix products": products, **{key: spent[key] / total for key in others[:4]}}


def variants(graph: Graph, name: str, rounds: int = 5, steps: int = 20) -> dict[str, Any]:
    """Median milliseconds of a step as it is, in bfloat16 products, and compiled by torch."""
    found: dict[str, Any] = {}
    for title in ("as it is", "bfloat16", "torch.compile"):
        step = _Step(graph, name)
        if title == "torch.compile":
            step.objective.compile(dynamic=True)
        begin = process_time()
        with _half() if title == "bfloat16" else nullcontext():
            try:
                step.run(5)
            except Exception as error:  # what a compiler says is the finding
                found[title] = {"refused": f"{type(error).__name__}: {error}".splitlines()[0]}
                continue
            ready = process_time() - begin
            taken = [step.run(steps) / steps for _ in range(rounds)]
        found[title] = {"first_5_steps_s": ready, "step_ms": median(taken) * 1e3}
    return found


@contextmanager
def _half() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16):
        yield


class _Step:
    """Steps of one model's training, outside its loop."""

    def __init__(self, graph: Graph, name: str) -> None:
        model, training = MODELS[name]
        self.objective = objective_of(graph, model, replace(training, epochs=1))
        self._queries = queries_of(graph)
        training = replace(training, epochs=LONG)
        self._optimiser = Optimiser(self.objective, training, self._queries)
        self._generator = torch.Generator().manual_seed(1)
        self._batch = training.batch

    def run(self, steps: int) -> float:
        """Take some steps; the seconds they took."""
        begin = process_time()
        for _ in range(steps):
            index = torch.randint(len(self._queries), (self._batch,), generator=self._generator)
            shape = (self.objective.settings.negatives,)
            entities = self.objective.scorer.num_entities
            negatives = torch.randint(entities, shape, generator=self._generator)
            step = self.objective.step(self._queries.batch(index), negatives)
            self._optimiser.take(step, 0)
        return process_time() - begin
