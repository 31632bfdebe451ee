"""From a graph folder to a bundle within a time budget: race, teachers, Junior, baseline, export.

There is always a bundle at the end: when time runs out, the best model so far is exported. A Junior
that is not better than its baseline on valid is dropped, and so are its teachers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from mulde.bundle.manifest import Manifest
from mulde.graph.graph import Graph, read_folder
from mulde.storage.atomic import new_file
from training.auto.candidates import Size, candidates
from training.auto.clock import Clock, Now, OutOfTime
from training.auto.plan import Plan, make_plan
from training.auto.race import Report, run_race
from training.distillation.queries import QuerySet
from training.export.export import export
from training.recipe import Recipe
from training.recipe_file import to_toml
from training.train import Device, Stage, read_record, stages, train_stage

_RACE = 0.3
"""The race's share of the whole budget."""

_EXPORT = 0.08
"""Share that training leaves for export and measurement."""

Say = Callable[[str], None]


@dataclass
class Decisions:
    """What was decided and why, for the report and the card.

    Attributes:
        race: one row for each candidate, the best first.
        trained: one row for each model after the race.
        chosen: the model that was exported: ``junior``, ``baseline`` or ``race``.
        why: one sentence.
        seconds: of each part.
    """

    race: list[dict[str, Any]] = field(default_factory=list)
    trained: list[dict[str, Any]] = field(default_factory=list)
    chosen: str = ""
    why: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


def fit(
    data: Path,
    out: Path,
    run: Path,
    *,
    name: str,
    minutes: float = 10.0,
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

    Args:
        data: graph folder with train, valid and test.
        out: the bundle's folder.
        run: folder for checkpoints; an interrupted fit continues from them.
        name: of recipe and model.
        minutes: for everything; export may take a little longer.
        dimension: D of the Junior.
        device: where models are trained.
        seed: of the race, the Junior and the baseline.
        report: is told of every epoch.
        say: is told of every decision.
        overwrite: replace an existing bundle.
        teacher: checkpoint of the only teacher; None trains teachers.
        now: the clock that minutes are read from.
    """
    clock, started, told = Clock.of(60 * minutes, now), now(), Decisions()
    graph = read_folder(data)
    wanted = {"graph": graph.digest, "dimension": dimension, "minutes": minutes, "seed": seed}
    if teacher is not None:
        wanted["teacher"] = str(teacher)
    plan = Plan.read(run / "plan.json", wanted)
    if plan is None:
        plan = _race(graph, wanted, clock, run, name, device, report, say)
    told.race, told.seconds["race"] = plan.race, now() - started
    say(_planned(plan))
    checkpoint, recipe = _train(plan, graph, run, device, clock, report, told, teacher)
    told.seconds["training"] = now() - started - told.seconds["race"]
    say(told.why)
    path = run / "recipe.toml"
    with new_file(path) as draft:
        text = to_toml(recipe, f"chosen by mulde fit on {graph.name}, {minutes:g} minutes")
        draft.write_text(text, encoding="utf-8")
    manifest = export(checkpoint, data, out, recipe=path, overwrite=overwrite, name=name)
    told.seconds["all"] = now() - started
    with new_file(run / "decisions.json") as draft:
        draft.write_text(json.dumps(asdict(told), indent=1) + "\n", encoding="utf-8")
    return manifest, told


def _race(
    graph: Graph,
    wanted: dict[str, Any],
    clock: Clock,
    run: Path,
    name: str,
    device: Device,
    report: Report,
    say: Say,
) -> Plan:
    """Run the race and keep what it decided."""
    queries = len(QuerySet.of(graph.train, graph.num_relations, graph.num_entities))
    size = Size.of(graph, queries)
    entrants = candidates(size, wanted["dimension"])
    say(f"race: {len(entrants)} candidates, {queries:,} queries, {_RACE * clock.left_s:.0f} s")
    seed = int(wanted["seed"])
    results = run_race(graph, entrants, clock.share(_RACE), run / "race", device, seed, report)
    plan = make_plan(results, size, clock.left_s, wanted, name, graph.name)
    plan.write(run / "plan.json")
    return plan


def _train(
    plan: Plan,
    graph: Graph,
    run: Path,
    device: Device,
    clock: Clock,
    report: Report,
    told: Decisions,
    teacher: Path | None,
) -> tuple[Path, Recipe]:
    """Train what was planned, and return the best checkpoint with its recipe."""
    training = clock.share(1 - _EXPORT)
    *teachers, junior, baseline = stages(plan.recipe, run)
    if teacher is not None:
        teachers, junior = [], replace(junior, teachers=(teacher,))

    def train(stage: Stage, part: Clock) -> float:
        with suppress(OutOfTime):
            train_stage(stage, plan.recipe, graph, device, part.watch(report))
        mrr = _best(stage.folder)
        told.trained.append({"model": stage.name, "valid_mrr": mrr, "folder": stage.folder.name})
        return mrr

    direct = train(baseline, training.share(0.2))
    for place, stage in enumerate(teachers):
        train(stage, training.share(0.6 / (len(teachers) - place)))
    taught = 0.0
    if all((stage.folder / "best.pt").exists() for stage in teachers):
        taught = train(junior, training)
    return _choose(plan, taught, direct, (junior.folder, baseline.folder), told)


def _choose(
    plan: Plan, taught: float, direct: float, folders: tuple[Path, Path], told: Decisions
) -> tuple[Path, Recipe]:
    """The best model on valid, and why."""
    junior, baseline = (folder / "best.pt" for folder in folders)
    found = f"Junior {taught:.4f}, baseline {direct:.4f}, race {plan.mrr:.4f}"
    if taught > max(direct, plan.mrr):
        told.chosen, told.why = "junior", f"distillation helps on valid ({found})"
        return junior, plan.recipe
    told.chosen = "baseline" if direct >= plan.mrr else "race"
    told.why = f"distillation does not help on valid ({found}): exporting the {told.chosen} model"
    if told.chosen == "baseline":
        return baseline, replace(plan.recipe, teachers=())
    return Path(plan.checkpoint), plan.winner


def _best(folder: Path) -> float:
    """Best valid MRR of a run; 0 if it was never validated."""
    if not (folder / "best.pt").exists():
        return 0.0
    record = read_record(folder)
    return float(record[-1]["best"]) if record else 0.0


def _planned(plan: Plan) -> str:
    leader, recipe = plan.race[0], plan.recipe
    teachers = ", ".join(f"{one.scorer}-{one.dimension}" for one in recipe.teachers)
    return (
        f"race: {leader['scorer']} {leader['setting']} leads with valid MRR {plan.mrr:.4f}; "
        f"teachers: {teachers}; Junior: {recipe.junior_training.epochs} epochs"
    )
