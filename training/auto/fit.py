"""From a graph folder to a bundle within a time budget: race, teachers, Junior, baseline, export.

There is always a bundle at the end: when time runs out, the best model so far is exported. A Junior
that is not better than its baseline on valid is dropped, and so are its teachers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import compress
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from mulde.bundle.job import job_of, own_result
from mulde.bundle.manifest import Manifest
from mulde.errors import ConfigError, TrainingDiverged
from mulde.graph.graph import Graph, read_folder
from mulde.storage.atomic import new_file
from training.auto.candidates import Candidate, Size, candidates, lasting
from training.auto.clock import Clock, Now, OutOfTime
from training.auto.memory import GB, Memory
from training.auto.plan import TRIAL, Plan, make_plan
from training.auto.race import RUNGS, SHORT_RUNGS, Report, Result, run_race, train_candidate
from training.auto.teachers import choose_teachers, penalty_trials
from training.distillation.queries import QuerySet
from training.evaluate import popularity
from training.export.export import export
from training.recipe import Recipe, Teacher, decisive, digest_of
from training.recipe_file import to_toml
from training.report.report import write_report
from training.train import Device, Stage, read_record, stages, train_stage

REPORT = "report.html"
"""The page of a fit, in the run's folder."""

_RACE = 0.22
"""The race's share of the whole budget."""

_TEACHING = 0.43
"""Share of the training after the race that teachers are planned to take."""

_LEARNING = 0.45
"""Share of it for the Junior and its trials; the rest is for a baseline."""

_EXPORT = 0.08
"""Share that training leaves for export and measurement."""

_LEAST_EXPORT_S, _MOST_EXPORT = 9.0, 0.35
"""Seconds that they take on the smallest graph, and the share that they have at most."""

_POOR = 0.9
"""Share of the best teacher's valid MRR below which another one is dropped."""

Say = Callable[[str], None]


@dataclass
class Decisions:
    """What was decided and why, for the report and the card.

    Attributes:
        race: one row for each candidate, the best first.
        trained: one row for each model after the race.
        left_out: candidates that were not tried, and why.
        chosen: the model that was exported: ``junior``, ``baseline`` or ``race``.
        why: one sentence.
        popularity: MRR on test of ranking answers by how often train gives them.
        seconds: of each part.
    """

    race: list[dict[str, Any]] = field(default_factory=list)
    trained: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    chosen: str = ""
    why: str = ""
    popularity: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


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
        told = Decisions(**json.loads(decisions.read_bytes()))
        if not (run / REPORT).exists():  # it was killed before it wrote this
            write_report(out, run / REPORT, data=data, run=run)
        _write(decisions, told)  # over what a kill may have left of it
        return made, told
    fitting = _Fitting(graph, run, device, clock, report, say, told)
    plan = Plan.read(run / "plan.json", wanted) or fitting.race(wanted, name, memory)
    told.race, told.seconds["race"] = plan.race, now() - started
    say(_planned(plan))
    checkpoint, recipe = fitting.train(plan, teacher)
    told.seconds["training"] = now() - started - told.seconds["race"]
    say(told.why)
    told.popularity = popularity(graph, "test")["total"]["mrr"]
    path = run / "recipe.toml"
    with new_file(path) as draft:
        text = to_toml(recipe, f"chosen by mulde fit on {graph.name}, {minutes:g} minutes")
        draft.write_text(text, encoding="utf-8")
    _write(decisions, told)  # before the bundle, so that a published one has its decisions
    manifest = export(checkpoint, data, out, recipe=path, overwrite=overwrite, name=name, job=job)
    write_report(out, run / REPORT, data=data, run=run)
    told.seconds["all"] = now() - started
    _write(decisions, told)
    return manifest, told


def _write(path: Path, told: Decisions) -> None:
    with new_file(path) as draft:
        draft.write_text(json.dumps(asdict(told), indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Variant:
    """A recipe and the checkpoints of its teachers."""

    recipe: Recipe
    teachers: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Its temperature and penalty."""
        recipe = self.recipe
        return f"T {recipe.distillation.temperature:g}, penalty {recipe.junior_training.penalty:g}"


class _Trained(NamedTuple):
    """A model that may be exported: what it is called, its valid MRR, where it is, its recipe."""

    name: str
    mrr: float
    folder: Path
    recipe: Recipe


@dataclass(frozen=True)
class _Fitting:
    """What all parts of a fit share."""

    graph: Graph
    run: Path
    device: Device
    clock: Clock
    report: Report
    say: Say
    told: Decisions

    def race(self, wanted: dict[str, Any], name: str, memory: float | None) -> Plan:
        """Run the race and keep what it decided."""
        graph, clock = self.graph, self.clock
        queries = len(QuerySet.of(graph.train, graph.num_relations, graph.num_entities))
        size = Size.of(graph, queries)
        budget = Memory.of(size, memory)
        entrants = self._fitting(candidates(size, wanted["dimension"]), budget)
        seconds = _RACE * clock.left_s
        self.say(f"race: {len(entrants)} candidates, {queries:,} queries, {seconds:.0f} s")
        results = run_race(
            graph,
            size,
            entrants,
            clock.share(_RACE),
            self.run / "race",
            self.device,
            int(wanted["seed"]),
            self.report,
            SHORT_RUNGS if size.slow else RUNGS,
        )
        given = "teacher" in wanted
        teachers = [] if given else self._planned_teachers(results, budget, int(wanted["seed"]))
        seconds = (_TEACHING * given + _LEARNING) * self._training().left_s
        plan = make_plan(results, teachers, size, seconds, wanted, name, graph.name)
        plan.write(self.run / "plan.json")
        return plan

    def _training(self) -> Clock:
        """What is left, without the time of the export."""
        return self.clock.share(1 - _exporting(self.clock.left_s))

    def _planned_teachers(
        self, results: Sequence[Result], budget: Memory, seed: int
    ) -> list[Teacher]:
        """The teachers that there is time for, each with the penalty that suits it."""
        found = choose_teachers(results, _TEACHING * self._training().left_s, budget)
        mrr = {1.0: 0.0}
        for factor, one in penalty_trials(found, self.clock.left_s).items():
            trial = train_candidate(
                "penalty trial",
                one,
                one.training.epochs,
                self.graph,
                self.clock.share(0.1),
                self.run / "race",
                self.device,
                seed,
                self.report,
            )
            mrr[factor] = trial.mrr
            row = {"model": f"teacher, {one.setting}", "valid_mrr": trial.mrr, "folder": "race"}
            self.told.trained.append(row)
        best = max(mrr, key=lambda factor: mrr[factor])
        if len(mrr) > 1:
            self.say(f"penalty of the teachers: {best:g} times the usual ({mrr[best]:.4f})")
        return [one.teacher(best if one.result is results[0] else 1.0) for one in found]

    def _fitting(self, entrants: Sequence[Candidate], budget: Memory) -> list[Candidate]:
        """The candidates that fit into the memory."""
        needs = {one.name: budget.bytes_of(one.model, one.training) / GB for one in entrants}
        found = [one for one in entrants if budget.fits(one.model, one.training)]
        if not found:
            least = f"at least {min(needs.values()):.1f} (GB) for a graph of this size"
            raise ConfigError("--memory", least, round(budget.budget / GB, 2))
        kept = {one.name for one in found}
        for one, gigabytes in needs.items():
            if one not in kept:
                self.told.left_out.append(f"{one}: needs {gigabytes:.1f} GB")
                self.say(f"left out: {self.told.left_out[-1]}")
        return found

    def train(self, plan: Plan, teacher: Path | None) -> tuple[Path, Recipe]:
        """Train what was planned, and return the best checkpoint with its recipe."""
        clock, found = self._training(), list[_Trained]()
        if plan.baseline is not None:
            *_, baseline = stages(plan.baseline, self.run)
            mrr = self._stage(baseline, plan.baseline, clock.share(0.2))
            found.append(_Trained("baseline", mrr, baseline.folder, plan.baseline))
        *_, junior, _ = stages(plan.recipes[0], self.run)
        if teacher is None:
            variants = self._teachers(plan.recipes, clock)
        else:
            variants = [_Variant(replace(one, teachers=()), (teacher,)) for one in plan.recipes]
        if variants:
            best, trial = self._trials(variants, junior, clock)
            training = best.recipe.junior_training
            junior = replace(junior, training=training, teachers=best.teachers)
            taught = self._stage(junior, best.recipe, clock)
            found += [_Trained("junior", taught, junior.folder, best.recipe), *trial]
        return self._choose(plan, found)

    def _stage(self, stage: Stage, recipe: Recipe, clock: Clock) -> float:
        """Train a model until its time is over; its best valid MRR, 0 if there is none."""
        trained = clock.left_s > 0
        if trained:
            watched = clock.watch(self.report)
            with suppress(OutOfTime, TrainingDiverged):
                train_stage(stage, recipe, self.graph, self.device, watched, self_loops=False)
        mrr = _best(stage.folder) if trained else 0.0
        row = {"model": stage.name, "valid_mrr": mrr, "folder": stage.folder.name}
        self.told.trained.append(row)
        return mrr

    def _teachers(self, recipes: Sequence[Recipe], clock: Clock) -> list[_Variant]:
        """Train the teachers; the recipes with those that are not much worse than the best."""
        own = stages(recipes[0], self.run)[: len(recipes[0].teachers)]
        mrr = [
            self._stage(stage, recipes[0], clock.share(0.6 / (len(own) - place)))
            for place, stage in enumerate(own)
        ]
        good = [one > 0 and one >= _POOR * max(mrr) for one in mrr]
        kept = tuple(stage.folder / "best.pt" for stage in compress(own, good))
        taught_by = tuple(compress(recipes[0].teachers, good))
        return [_Variant(replace(one, teachers=taught_by), kept) for one in recipes if kept]

    def _trials(
        self, variants: Sequence[_Variant], junior: Stage, clock: Clock
    ) -> tuple[_Variant, list[_Trained]]:
        """The variant whose short Junior is best on valid, with that Junior; none if only one."""
        if len(variants) == 1:
            return variants[0], []
        trials: list[_Trained] = []
        for place, one in enumerate(variants):
            full = one.recipe.junior_training
            short = lasting(full, round(TRIAL * full.epochs))
            distillation = replace(one.recipe.distillation, ask_every=short.validate_every)
            facts = [decisive(distillation), decisive(short), list(map(str, one.teachers))]
            stage = replace(
                junior,
                name=f"trial {one.name}",
                folder=self.run / "trials" / digest_of(facts)[:12],
                training=short,
                teachers=one.teachers,
            )
            asked = replace(one.recipe, junior_training=short, distillation=distillation)
            mrr = self._stage(stage, asked, clock.share(0.5 / (len(variants) - place)))
            trials.append(_Trained("trial", mrr, stage.folder, asked))
        best = max(range(len(trials)), key=lambda place: trials[place].mrr)
        self.say(f"trials of the Junior: {variants[best].name} leads ({trials[best].mrr:.4f})")
        return variants[best], [trials[best]]

    def _choose(self, plan: Plan, found: Sequence[_Trained]) -> tuple[Path, Recipe]:
        """The best model on valid, and why."""
        told, race = self.told, _Trained("race", plan.mrr, Path(), plan.winner)
        best = max([*found, race], key=lambda one: one.mrr)
        figures = ", ".join(f"{one.name} {one.mrr:.4f}" for one in [*found, race])
        told.chosen, told.why = best.name, f"distillation helps on valid ({figures})"
        if best.name == "trial":
            told.chosen = "junior"
            told.why += ": exporting the short trial of the Junior"
        if told.chosen != "junior":
            name = "the model of the race" if best is race else f"the {best.name}"
            told.why = f"distillation does not help on valid ({figures}): exporting {name}"
        if best is race:
            return Path(plan.checkpoint), plan.winner
        return best.folder / "best.pt", best.recipe


def _exporting(left_s: float) -> float:
    """Share of what is left that training leaves for the export."""
    return max(_EXPORT, min(_MOST_EXPORT, _LEAST_EXPORT_S / max(left_s, 1e-9)))


def _best(folder: Path) -> float:
    """Best valid MRR of a run; 0 if it was never validated."""
    if not (folder / "best.pt").exists():
        return 0.0
    record = read_record(folder)
    return float(record[-1]["best"]) if record else 0.0


def _planned(plan: Plan) -> str:
    leader, recipe = plan.race[0], plan.recipes[0]
    teachers = ", ".join(f"{one.scorer}-{one.dimension}" for one in recipe.teachers) or "given"
    return (
        f"race: {leader['scorer']} {leader['setting']} leads with valid MRR {plan.mrr:.4f}; "
        f"teachers: {teachers}; Junior: {recipe.junior_training.epochs} epochs"
    )
