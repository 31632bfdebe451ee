"""A race of candidate models by successive halving on valid.

Each rung trains the remaining candidates from nothing with three times the epochs of the rung
before, and keeps the better third. So most of the time goes to the models that look best, and a
candidate's score is always that of a complete learning-rate schedule. (Jamieson and Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.) At the end
the best candidate's settings are varied, one at a time, as long as that helps and there is time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from mulde.errors import TrainingDiverged
from mulde.graph.graph import Graph
from training.auto.candidates import Candidate, Size, neighbours
from training.auto.clock import Clock, OutOfTime
from training.loop import Progress
from training.recipe import Recipe, decisive, digest_of
from training.train import Device, Stage, read_record, train_stage

RUNGS = (1 / 9, 1 / 3, 1.0)
"""Share of a candidate's epochs in each rung."""

SHORT_RUNGS = (1 / 3, 1.0)
"""The same where a family begins so slowly that a ninth says nothing of it."""

_SCORE_S = 1.5e-8
"""Seconds of a score in a cross entropy, on one core: 2.4e-8 on WN18RR on a busy machine."""

_KEPT = 1 / 3
_FIRST_RUNG = 0.5
"""Most of the race that the first rung is planned to take."""

_TIMING_S = 4.0
"""Seconds after which a timing of two epochs ends with the first; torch takes one to start."""

_REFINED = 0.5
"""Share of the time, in rungs, for the neighbours of the best candidate."""

_ROUNDS = 3
"""Most times that the settings of the best candidate are varied."""

Report = Callable[[str, Progress], None]


@dataclass(frozen=True)
class Result:
    """What a candidate reached in its best rung.

    Attributes:
        candidate: with its full schedule.
        epochs: of that rung.
        rung: 0, 1 or 2.
        mrr: best valid MRR; 0 if it was never validated.
        seconds: of the whole training.
        epoch_s: seconds an epoch, without validation.
        overhead_s: seconds of preparing and validating.
        checkpoint: of the best epoch; None if there is none.
        longest: the most epochs that it was trained for in any rung.
    """

    candidate: Candidate
    epochs: int
    rung: int
    mrr: float
    seconds: float
    epoch_s: float
    overhead_s: float
    checkpoint: Path | None
    longest: int = 0

    def cost_s(self, epochs: int, factor: float = 1.0) -> float:
        """Seconds of a training of so many epochs, for a model that takes ``factor`` as long."""
        return factor * (self.overhead_s + self.epoch_s * epochs)

    def affordable(self, seconds: float, factor: float = 1.0) -> int:
        """Epochs that fit into a time; below 0 where not even validation does."""
        return int((seconds / factor - self.overhead_s) / max(self.epoch_s, 1e-6))


def run_race(
    graph: Graph,
    size: Size,
    entrants: Sequence[Candidate],
    clock: Clock,
    folder: Path,
    device: Device,
    seed: int,
    report: Report,
    rungs: Sequence[float] = RUNGS,
) -> list[Result]:
    """Race the candidates and return the best result of each, the best first.

    Args:
        graph: whose valid split decides.
        size: of the graph.
        entrants: what starts, the most promising first; the last ones are left out where the time
            is too short for the first rung of all.
        clock: the race's share of the budget; each rung gets an equal part of what is left.
        folder: where checkpoints go; an interrupted race continues from them.
        device: where models are trained.
        seed: of all of them.
        report: is told of every epoch.
        rungs: share of a candidate's epochs in each rung.
    """

    def train(title: str, candidate: Candidate, epochs: int, clock: Clock) -> Result:
        return train_candidate(title, candidate, epochs, graph, clock, folder, device, seed, report)

    def trial(candidate: Candidate, epochs: int, rung: int, clock: Clock) -> Result:
        return replace(train(f"race {rung + 1}", candidate, epochs, clock), rung=rung)

    results: dict[str, Result] = {}
    timed: dict[str, Result] = {}
    for one in entrants:
        seconds = expected_s(one, rungs, size) if device.type == "cpu" else 0.0
        affordable = clock.left_s > 0 and seconds <= _FIRST_RUNG * clock.left_s
        if one.model.scorer not in timed and (affordable or not timed):
            timed[one.model.scorer] = train("timing", one, 2, Clock.of(_TIMING_S, clock.now))
    least = min(one.overhead_s for one in timed.values())  # the first one warms torch up
    timed = {name: replace(one, overhead_s=least) for name, one in timed.items()}
    remaining = _affordable(entrants, timed, rungs, _FIRST_RUNG * clock.left_s)
    if len(remaining) == 1:
        rungs = rungs[-1:]  # nothing to compare it with
    for rung, share in enumerate(rungs):
        first = rung == 0 and len(rungs) > 1
        part = clock.share(_FIRST_RUNG if first else 1 / (len(rungs) - rung + _REFINED))
        for place, one in enumerate(remaining):
            if clock.left_s == 0 and any(found.checkpoint for found in results.values()):
                break
            own = part.share(1 / (len(remaining) - place))
            earlier = results.get(one.name)
            epochs = _epochs(one, earlier or timed[one.model.scorer], share, own)
            if earlier is None or epochs > earlier.longest:
                found = trial(one, epochs, rung, own)
                best = found if earlier is None or found.mrr >= earlier.mrr else earlier
                results[one.name] = replace(best, longest=found.epochs)
        order = sorted(
            (one for one in remaining if one.name in results),
            key=lambda one: -results[one.name].mrr,
        )
        remaining = order[: max(len(rungs) - 1 - rung, math.ceil(len(order) * _KEPT))]
    for _ in range(_ROUNDS):
        best = _ordered(results)[0]
        for one in neighbours(best.candidate):
            if one.name not in results and best.cost_s(one.training.epochs) < clock.left_s:
                tried = trial(one, one.training.epochs, len(rungs) - 1, clock)
                results[one.name] = replace(tried, longest=tried.epochs)
        if _ordered(results)[0] is best:
            break
    return _ordered(results)


def expected_s(one: Candidate, rungs: Sequence[float], size: Size) -> float:
    """Seconds of a first rung and its timing as far as they are known before any step.

    The timing itself takes an epoch. Where a loss scores all entities, that may be most of the
    race: 100 s of 396 s on WN18RR, for each family, which the first rung then had no time for.

    Args:
        one: the candidate.
        rungs: share of its epochs in each rung.
        size: of the graph.
    """
    training = one.training
    if training.loss != "cross-entropy":
        return 0.0
    scored = size.entities
    if training.partition == "negatives":
        scored = min(scored, training.negatives + training.batch)
    scores = size.queries * scored
    return (1 + math.ceil(training.epochs * rungs[0])) * _SCORE_S * scores


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


def train_candidate(
    title: str,
    candidate: Candidate,
    epochs: int,
    graph: Graph,
    clock: Clock,
    folder: Path,
    device: Device,
    seed: int,
    report: Report,
) -> Result:
    """Train one candidate from nothing, or find it trained; one that diverges has no checkpoint.

    The title stands before its name where progress is shown. The rung of the result is 0.
    """
    model, training = candidate.model, candidate.lasting(epochs).training
    name = digest_of([decisive(model), decisive(training)])[:12]
    stage = Stage(f"{title}: {candidate.name}", folder / name, model, training, seed)
    recipe = Recipe(name="race", data="", junior=model, junior_training=training)
    began, marks = clock.now(), list[tuple[float, bool]]()

    def timed(name: str, progress: Progress) -> None:
        marks.append((clock.now(), progress.validated == progress.epoch))
        report(name, progress)

    with suppress(OutOfTime, TrainingDiverged):
        train_stage(stage, recipe, graph, device, clock.watch(timed), self_loops=False)
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


def _epoch_s(marks: Sequence[tuple[float, bool]]) -> float:
    """The median of the epochs after the first, without validation if possible; 0 for none."""
    later = [(end - start, validated) for (start, _), (end, validated) in pairwise(marks)]
    plain = [seconds for seconds, validated in later if not validated]
    return median(plain or [seconds for seconds, _ in later] or [0.0])
