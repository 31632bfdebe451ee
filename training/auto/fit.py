"""From a graph folder to a bundle within a time budget: race, teachers, Junior, baseline, export.

There is always a bundle at the end: when time runs out, the best model so far is exported. A Junior
that is not better than its baseline on valid is dropped, and so are its teachers. Where the time is
too short for teachers and a Junior, the race has all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from mulde.bundle.job import job_of, own_result
from mulde.bundle.manifest import Manifest
from mulde.errors import ConfigError
from mulde.graph.graph import read_folder
from mulde.storage.atomic import new_file
from training.auto.candidates import Candidate, Size, candidates
from training.auto.clock import Clock, Now
from training.auto.decisions import Decisions, Say
from training.auto.distil import train_plan
from training.auto.fitting import Fitting
from training.auto.memory import GB, Memory
from training.auto.plan import Plan, make_plan
from training.auto.race import RUNGS, SHORT_RUNGS, Race
from training.auto.result import Result
from training.auto.teachers import choose_teachers, penalty_trials
from training.distillation.queries import QuerySet
from training.evaluate import popularity
from training.export.export import export
from training.recipe import Teacher
from training.recipe_file import to_toml
from training.report.report import write_report
from training.train import Device, Report

REPORT = "report.html"
"""The page of a fit, in the run's folder."""

_RACE = 0.22
"""The race's share of the whole budget where a Junior follows."""

_DISTILS = 7.0
"""Least budget with teachers and a Junior, in whole trainings of the race's quickest family."""

_TEACHING = 0.43
"""Share of the training after the race that teachers are planned to take."""


def fit(
    data: Path,
    out: Path,
    run: Path,
    *,
    name: str,
    minutes: float = 10.0,
    memory: float | None = None,
    dimension: int = 32,
    device: Device,
    seed: int = 1,
    report: Report = lambda stage, progress: None,
    say: Say = lambda sentence: None,
    overwrite: bool = False,
    teacher: Path | None = None,
    now: Now = monotonic,
) -> tuple[Manifest, Decisions]:
    """Choose a recipe on valid, train it, and export the better of Junior and baseline.

    A bundle that the same fit has published is its result.

    Args:
        data: graph folder with train, valid and test.
        out: the bundle's folder.
        run: folder for checkpoints; an interrupted fit continues from them.
        name: of recipe and model.
        minutes: for everything; export may take a little longer.
        memory: gigabytes that a training may take; None: what the machine has free.
        dimension: D of the Junior, even.
        device: where models are trained.
        seed: of the race, the Junior and the baseline.
        report: is told of every epoch.
        say: is told of every decision.
        overwrite: replace an existing bundle.
        teacher: checkpoint of the only teacher; None trains teachers.
        now: the clock that minutes are read from.

    Raises:
        ConfigError: for an odd dimension, a bundle that is there, or too little memory.
    """
    if dimension % 2:
        raise ConfigError("--dimension", "an even number", dimension)
    clock, started, told = Clock.of(60 * minutes, now), now(), Decisions()
    graph = read_folder(data)
    wanted = {"graph": graph.digest, "dimension": dimension, "minutes": minutes, "seed": seed}
    wanted |= {} if memory is None else {"memory": memory}
    wanted |= {} if teacher is None else {"teacher": str(teacher)}
    job, decisions = job_of("fit", name=name, **wanted), run / "decisions.json"
    if out.exists() and not overwrite:
        made = own_result(out, job)
        if made is None or not decisions.exists():
            raise ConfigError("--out", "a folder that does not exist, or --overwrite", str(out))
        told = Decisions.read(decisions)
        if not (run / REPORT).exists():  # it was killed before it wrote this
            write_report(out, run / REPORT, data=data, run=run)
        told.write(decisions)  # over what a kill may have left of it
        return made, told
    fitting = Fitting(graph, run, device, clock, report, say, told)
    plan = Plan.read(run / "plan.json", wanted) or _race(fitting, wanted, name, memory)
    told.race, told.seconds["race"] = plan.race, now() - started
    say(_planned(plan))
    checkpoint, recipe = train_plan(fitting, plan, teacher)
    told.seconds["training"] = now() - started - told.seconds["race"]
    say(told.why)
    told.popularity = popularity(graph, "test")["total"]["mrr"]
    path = run / "recipe.toml"
    with new_file(path) as draft:
        text = to_toml(recipe, f"chosen by mulde fit on {graph.name}, {minutes:g} minutes")
        draft.write_text(text, encoding="utf-8")
    told.write(decisions)  # before the bundle, so that a published one has its decisions
    manifest = export(checkpoint, data, out, recipe=path, overwrite=overwrite, name=name, job=job)
    write_report(out, run / REPORT, data=data, run=run)
    told.seconds["all"] = now() - started
    told.write(decisions)
    return manifest, told


def _race(fitting: Fitting, wanted: dict[str, Any], name: str, memory: float | None) -> Plan:
    """Run the race and keep what it decided."""
    graph, seed = fitting.graph, int(wanted["seed"])
    queries = len(QuerySet.of(graph.train, graph.num_relations, graph.num_entities))
    size = Size.of(graph, queries)
    budget = Memory.of(size, memory)
    entrants = _within(fitting, candidates(size, wanted["dimension"]), budget)
    clock = fitting.clock.share(_RACE)
    fitting.say(f"race: {len(entrants)} candidates, {queries:,} queries, {clock.left_s:.0f} s")
    race = Race(graph, size, fitting.run / "race", fitting.device, seed, fitting.report)
    rungs = SHORT_RUNGS if size.slow else RUNGS
    timed = race.time(entrants, clock, rungs)
    given = "teacher" in wanted
    least = _DISTILS * min(one.whole_s for one in timed.values())
    distils = given or least <= fitting.clock.left_s
    if not distils:
        fitting.say(
            f"too short for teachers and a Junior, which take {least / 60:.1f} minutes or more"
        )
        clock, rungs = fitting.training, SHORT_RUNGS
    results = race.run(entrants, timed, clock, rungs)
    teachers = _teachers(fitting, race, results, budget) if distils and not given else []
    plan = make_plan(results, teachers, size, wanted, name, graph.name)
    plan.write(fitting.run / "plan.json")
    return plan


def _teachers(
    fitting: Fitting, race: Race, results: Sequence[Result], budget: Memory
) -> list[Teacher]:
    """The teachers that there is time for, each with the penalty that suits it."""
    found = choose_teachers(results, _TEACHING * fitting.training.left_s, budget)
    mrr = {1.0: 0.0}
    for factor, one in penalty_trials(found, fitting.clock.left_s).items():
        clock = fitting.clock.share(0.1)
        mrr[factor] = race.train("penalty trial", one, one.training.epochs, clock).mrr
        row = {"model": f"teacher, {one.setting}", "valid_mrr": mrr[factor], "folder": "race"}
        fitting.told.trained.append(row)
    best = max(mrr, key=lambda factor: mrr[factor])
    if len(mrr) > 1:
        fitting.say(f"penalty of the teachers: {best:g} times the usual ({mrr[best]:.4f})")
    return [one.teacher(best if one.result is results[0] else 1.0) for one in found]


def _within(fitting: Fitting, entrants: Sequence[Candidate], budget: Memory) -> list[Candidate]:
    """The candidates that fit into the memory."""
    needs = {one.name: budget.bytes_of(one.model, one.training) / GB for one in entrants}
    found = [one for one in entrants if budget.fits(one.model, one.training)]
    if not found:
        least = f"at least {min(needs.values()):.1f} (GB) for a graph of this size"
        raise ConfigError("--memory", least, round(budget.budget / GB, 2))
    kept = {one.name for one in found}
    for one, gigabytes in needs.items():
        if one not in kept:
            fitting.told.left_out.append(f"{one}: needs {gigabytes:.1f} GB")
            fitting.say(f"left out: {fitting.told.left_out[-1]}")
    return found


def _planned(plan: Plan) -> str:
    leader, taught_by = plan.race[0], plan.recipes[0].teachers
    teachers = ", ".join(f"{one.scorer}-{one.dimension}" for one in taught_by)
    return f"race: {leader['scorer']} {leader['setting']} leads with valid MRR {plan.mrr:.4f}" + (
        f"; teachers: {teachers}" if teachers else ""
    )
