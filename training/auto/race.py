"""A race of candidate models by successive halving on valid.

Each rung trains the remaining candidates from nothing with three times the epochs of the rung
before, and keeps the better third. So most of the time goes to the models that look best, and a
candidate's score is always that of a complete learning-rate schedule. (Jamieson and Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.) At the end
the best candidate's settings are varied, one at a time, as long as that helps and there is time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from mulde.errors import TrainingDiverged
from mulde.graph.graph import Graph
from training.auto.candidates import Candidate, Size, neighbours
from training.auto.clock import Clock, OutOfTime
from training.auto.result import Result, expected_s
from training.loop import Progress
from training.recipe import Recipe, decisive, digest_of
from training.train import Device, Report, Stage, read_record, train_stage

RUNGS = (1 / 9, 1 / 3, 1.0)
"""Share of a candidate's epochs in each rung."""

SHORT_RUNGS = (1 / 3, 1.0)
"""The same where a family begins so slowly that a ninth says nothing of it."""

_KEPT = 1 / 3
_FIRST_RUNG = 0.5
"""Most of the race that the first rung is planned to take."""

_TIMING_S = 4.0
"""Seconds after which a timing of two epochs ends with the first; torch takes one to start."""

_REFINED = 0.5
"""Share of the time, in rungs, for the neighbours of the best candidate."""

_ROUNDS = 3
"""Most times that the settings of the best candidate are varied."""


@dataclass(frozen=True)
class Race:
    """What all its trainings share.

    Attributes:
        graph: whose valid split decides.
        size: of the graph.
        folder: where checkpoints go; an interrupted race continues from them.
        device: where models are trained.
        seed: of all of them.
        report: is told of every epoch.
    """

    graph: Graph
    size: Size
    folder: Path
    device: Device
    seed: int
    report: Report

    def time(
        self, entrants: Sequence[Candidate], clock: Clock, rungs: Sequence[float] = RUNGS
    ) -> dict[str, Result]:
        """Return what two epochs say of the pace of each family, by scorer.

        Args:
            entrants: what races; the first of each family is timed.
            clock: the race's share of the budget; a family whose first rung is known to be too
                long for it is left out.
            rungs: share of a candidate's epochs in each rung.
        """
        timed: dict[str, Result] = {}
        for one in entrants:
            seconds = expected_s(one, rungs, self.size) if self.device.type == "cpu" else 0.0
            affordable = clock.left_s > 0 and seconds <= _FIRST_RUNG * clock.left_s
            if one.model.scorer not in timed and (affordable or not timed):
                until = Clock.of(_TIMING_S, clock.now)
                timed[one.model.scorer] = self.train("timing", one, 2, until)
        least = min(one.overhead_s for one in timed.values())  # the first one warms torch up
        return {name: replace(one, overhead_s=least) for name, one in timed.items()}

    def run(
        self,
        entrants: Sequence[Candidate],
        timed: dict[str, Result],
        clock: Clock,
        rungs: Sequence[float] = RUNGS,
    ) -> list[Result]:
        """Race the candidates and return the best result of each, the best first.

        Args:
            entrants: what starts, the most promising first; the last ones are left out where the
                time is too short for the first rung of all.
            timed: the pace of each family; one without is left out.
            clock: the race's time; each rung gets an equal part of what is left.
            rungs: share of a candidate's epochs in each rung.
        """
        results: dict[str, Result] = {}
        remaining = _affordable(entrants, timed, rungs, _FIRST_RUNG * clock.left_s)
        if len(remaining) == 1:
            rungs = rungs[-1:]  # nothing to compare it with
        for rung, share in enumerate(rungs):
            part = clock.share(_part(rung, len(rungs)))
            last = rung == len(rungs) - 1
            if last and timed[remaining[0].model.scorer].whole_s > part.left_s:
                part = clock  # no time to vary its settings
            self._rung(rung, share, remaining, results, timed, part)
            order = sorted(
                (one for one in remaining if one.name in results),
                key=lambda one: -results[one.name].mrr,
            )
            remaining = order[: max(len(rungs) - 1 - rung, math.ceil(len(order) * _KEPT))]
        self._complete(results, len(rungs) - 1, clock)
        self._vary(results, len(rungs) - 1, clock)
        return _ordered(results)

    def _rung(
        self,
        rung: int,
        share: float,
        remaining: Sequence[Candidate],
        results: dict[str, Result],
        timed: dict[str, Result],
        clock: Clock,
    ) -> None:
        """Train each candidate that is left for the rung's share of its epochs."""
        for place, one in enumerate(remaining):
            if clock.left_s == 0 and any(found.checkpoint for found in results.values()):
                return
            own = clock.share(1 / (len(remaining) - place))
            earlier = results.get(one.name)
            epochs = _epochs(one, earlier or timed[one.model.scorer], share, own)
            self._train_on(results, one, epochs, rung, own)

    def _complete(self, results: dict[str, Result], rung: int, clock: Clock) -> None:
        """Train the best candidate for more of its epochs than any rung did, if there is time."""
        best = _ordered(results)[0]
        epochs = min(best.candidate.training.epochs, best.affordable(clock.left_s))
        self._train_on(results, best.candidate, epochs, rung, clock)

    def _vary(self, results: dict[str, Result], rung: int, clock: Clock) -> None:
        """Train neighbours of the best candidate while one of them is better and there is time."""
        for _ in range(_ROUNDS):
            best = _ordered(results)[0]
            for one in neighbours(best.candidate):
                if one.name not in results and best.cost_s(one.training.epochs) < clock.left_s:
                    self._train_on(results, one, one.training.epochs, rung, clock)
            if _ordered(results)[0] is best:
                return

    def _train_on(
        self, results: dict[str, Result], one: Candidate, epochs: int, rung: int, clock: Clock
    ) -> None:
        """Train a candidate for more epochs than before, if these are more; keep the better."""
        earlier = results.get(one.name)
        if earlier is None or epochs > earlier.longest:
            found = replace(self.train(f"race {rung + 1}", one, epochs, clock), rung=rung)
            best = found if earlier is None or found.mrr >= earlier.mrr else earlier
            results[one.name] = replace(best, longest=found.epochs)

    def train(self, title: str, candidate: Candidate, epochs: int, clock: Clock) -> Result:
        """Train one candidate from nothing, or find it trained; no checkpoint if it diverges.

        The title stands before its name where progress is shown. The rung of the result is 0.
        """
        model, training = candidate.model, candidate.lasting(epochs).training
        name = digest_of([decisive(model), decisive(training)])[:12]
        stage = Stage(f"{title}: {candidate.name}", self.folder / name, model, training, self.seed)
        recipe = Recipe(name="race", data="", junior=model, junior_training=training)
        began, marks = clock.now(), list[tuple[float, bool]]()

        def timed(name: str, progress: Progress) -> None:
            marks.append((clock.now(), progress.validated == progress.epoch))
            self.report(name, progress)

        with suppress(OutOfTime, TrainingDiverged):
            watched = clock.watch(timed)
            train_stage(stage, recipe, self.graph, self.device, watched, self_loops=False)
        spent = clock.now() - began
        best, planned = stage.folder / "best.pt", training.epochs
        record = read_record(stage.folder) if best.exists() else []
        if not record:
            return Result(candidate, planned, 0, 0.0, spent, spent / planned, 0.0, None)
        last = record[-1]
        earlier = float(last["seconds"]) / int(last["epoch"])
        epoch_s = _epoch_s(marks) or (spent / len(marks) if marks else earlier)
        overhead_s, mrr = max(0.0, spent - epoch_s * len(marks)), float(last["best"])
        return Result(candidate, planned, 0, mrr, spent, epoch_s, overhead_s, best)


def _part(rung: int, rungs: int) -> float:
    """The share of the time left that a rung is given."""
    return _FIRST_RUNG if rung == 0 and rungs > 1 else 1 / (rungs - rung + _REFINED)


def _affordable(
    entrants: Sequence[Candidate],
    timed: dict[str, Result],
    rungs: Sequence[float],
    seconds: float,
) -> list[Candidate]:
    """Candidates in their order whose first rung fits into a time; one less than rungs at least.

    Fewer candidates that train long enough are compared better than many that hardly begin: a
    family that starts slowly may end as the best.
    """
    found: list[Candidate] = []
    for one in (one for one in entrants if one.model.scorer in timed):
        epochs = math.ceil(one.training.epochs * rungs[0])
        seconds -= timed[one.model.scorer].cost_s(epochs)
        if seconds >= 0 or len(found) < len(rungs) - 1:
            found.append(one)
    return found


def _ordered(results: dict[str, Result]) -> list[Result]:
    """The best first, of equal ones the longest trained; those without a checkpoint last."""
    return sorted(
        results.values(), key=lambda one: (one.checkpoint is None, -one.mrr, -one.longest)
    )


def _epochs(one: Candidate, found: Result, share: float, clock: Clock) -> int:
    """Epochs of a rung: its share of the schedule, or what the time allows."""
    wanted = math.ceil(one.training.epochs * share)
    return max(1, min(wanted, found.affordable(clock.left_s)))


def _epoch_s(marks: Sequence[tuple[float, bool]]) -> float:
    """The median of the epochs after the first, without validation if possible; 0 for none."""
    later = [(end - start, validated) for (start, _), (end, validated) in pairwise(marks)]
    plain = [seconds for seconds, validated in later if not validated]
    return median(plain or [seconds for seconds, _ in later] or [0.0])
