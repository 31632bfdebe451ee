"""The part of a fit after the race: teachers, the Junior, and which model is exported."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from mulde.storage.atomic import new_folder, publish
from training.auto.candidates import lasting
from training.auto.clock import Clock
from training.auto.fitting import Fitting, Trained
from training.auto.plan import Pace, Plan, sized, trial_of
from training.loop import Progress
from training.recipe import Recipe, Teacher, decisive, digest_of
from training.train import Stage, stages

_BASELINE = 0.2
"""Share of the time that a baseline takes."""

_TEACHERS = 0.6
"""Most of the time that teachers take."""

_POOR = 0.9
"""Share of the best teacher's valid MRR below which another one is dropped."""


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


def train_plan(fitting: Fitting, plan: Plan, teacher: Path | None) -> tuple[Path, Recipe]:
    """Train what was planned, and return the best checkpoint with its recipe.

    Args:
        fitting: the fit.
        plan: of its race.
        teacher: checkpoint of the only teacher; None trains the plan's.
    """
    clock, found = fitting.training, list[Trained]()
    distils = bool(teacher or plan.recipes[0].teachers)
    if plan.baseline is not None:
        *_, baseline = stages(plan.baseline, fitting.run)
        mrr = fitting.train(baseline, plan.baseline, clock.share(_BASELINE))
        found.append(Trained("baseline", mrr, baseline.folder, plan.baseline))
    if distils:
        found += _distilled(fitting, plan, teacher, clock)
    return _choose(fitting, plan, found, distils=distils)


def _distilled(fitting: Fitting, plan: Plan, teacher: Path | None, clock: Clock) -> list[Trained]:
    """The Junior, and its best trial; nothing if no teacher could be trained."""
    *_, junior, _ = stages(plan.recipes[0], fitting.run)
    if teacher is None:
        taught_by, kept = _train_teachers(fitting, plan.recipes[0], clock)
    else:
        taught_by, kept = (), (teacher,)
    if not kept:
        return []
    junior = replace(junior, teachers=kept)
    if not plan.sized:
        plan = replace(plan, recipes=_sized(fitting, plan, junior, clock), sized=True)
        plan.write(fitting.run / "plan.json")
    variants = [_Variant(replace(one, teachers=taught_by), kept) for one in plan.recipes]
    best, trial = _best_variant(fitting, variants, junior, clock)
    junior = replace(junior, training=best.recipe.junior_training)
    mrr = fitting.train(junior, best.recipe, clock)
    return [Trained("junior", mrr, junior.folder, best.recipe), *trial]


def _train_teachers(
    fitting: Fitting, recipe: Recipe, clock: Clock
) -> tuple[tuple[Teacher, ...], tuple[Path, ...]]:
    """The teachers that are not much worse than the best, and their checkpoints."""
    own = stages(recipe, fitting.run)[: len(recipe.teachers)]
    mrr = [
        fitting.train(stage, recipe, clock.share(_TEACHERS / (len(own) - place)))
        for place, stage in enumerate(own)
    ]
    good = [one > 0 and one >= _POOR * max(mrr) for one in mrr]
    kept = tuple(stage.folder / "best.pt" for stage in compress(own, good))
    return tuple(compress(recipe.teachers, good)), kept


def _sized(fitting: Fitting, plan: Plan, junior: Stage, clock: Clock) -> tuple[Recipe, ...]:
    """The plan's recipes with as many epochs as two epochs of the Junior say there is time for."""
    recipe = plan.recipes[0]
    training = lasting(recipe.junior_training, 2)
    asked = replace(recipe.distillation, ask_every=2)
    training = replace(training, validate_every=2)
    folder = fitting.run / "trials" / "timing"
    stage = replace(junior, name="timing of the Junior", folder=folder, training=training)
    timed = replace(recipe, teachers=(), junior_training=training, distillation=asked)
    marks = [clock.now()]

    def report(name: str, progress: Progress) -> None:
        marks.append(clock.now())
        fitting.report(name, progress)

    replace(fitting, report=report).train(stage, timed, clock)
    recipes = sized(plan.recipes, Pace.of(marks), clock.left_s)
    fitting.say(f"Junior: {recipes[0].junior_training.epochs} epochs")
    return recipes


def _best_variant(
    fitting: Fitting, variants: Sequence[_Variant], junior: Stage, clock: Clock
) -> tuple[_Variant, list[Trained]]:
    """The variant whose short Junior is best on valid, with that Junior; none if only one."""
    if len(variants) == 1:
        return variants[0], []
    trials: list[Trained] = []
    for place, one in enumerate(variants):
        asked = trial_of(one.recipe)
        short = asked.junior_training
        facts = [decisive(asked.distillation), decisive(short), list(map(str, one.teachers))]
        folder = fitting.run / "trials" / digest_of(facts)[:12]
        stage = replace(junior, name=f"trial {one.name}", folder=folder, training=short)
        mrr = fitting.train(stage, asked, clock.share(0.5 / (len(variants) - place)))
        trials.append(Trained("trial", mrr, stage.folder, asked))
    best = max(range(len(trials)), key=lambda place: trials[place].mrr)
    fitting.say(f"trials of the Junior: {variants[best].name} leads ({trials[best].mrr:.4f})")
    return variants[best], [trials[best]]


def _choose(
    fitting: Fitting, plan: Plan, found: Sequence[Trained], *, distils: bool
) -> tuple[Path, Recipe]:
    """The best model on valid, and why."""
    told, race = fitting.told, Trained("race", plan.mrr, Path(), plan.winner)
    best = max([*found, race], key=lambda one: one.mrr)
    figures = ", ".join(f"{one.name} {one.mrr:.4f}" for one in [*found, race])
    name = "the model of the race" if best is race else f"the {best.name}"
    told.chosen = "junior" if best.name == "trial" else best.name
    if not distils:
        told.why = f"distillation had no time ({figures}): exporting {name}"
    elif told.chosen != "junior":
        told.why = f"distillation does not help on valid ({figures}): exporting {name}"
    else:
        told.why = f"distillation helps on valid ({figures})"
    if best.name == "trial":
        told.why += ": exporting the short trial of the Junior"
    if best is race:
        return _kept(Path(plan.checkpoint), fitting.run / "baseline"), plan.winner
    return best.folder / "best.pt", best.recipe


def _kept(checkpoint: Path, folder: Path) -> Path:
    """Copy the race's model to where a training of its recipe would put it, for the report."""
    if checkpoint.is_file() and not folder.exists():
        with new_folder(folder) as draft:
            for name in ("best.pt", "last.pt", "record.jsonl"):
                shutil.copyfile(checkpoint.parent / name, draft / name)
            publish(draft, folder, overwrite=False)
    return checkpoint
