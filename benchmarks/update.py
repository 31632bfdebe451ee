"""Updates against training from nothing, on graphs that arrive in snapshots.

    python -m benchmarks.update measure FOLDER WAY    # goes on after an interrupt
    python -m benchmarks.update page

FOLDER has subfolders 0, 1, .. with train, valid and test each. A way says how the model of the last
snapshot comes about: by an update after each snapshot, or trained from nothing on all facts.
Seconds are the processor's, of training loops and of what prepares them, on one thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer

from benchmarks.record_files import read_records, write_json
from benchmarks.snapshots import Snapshots
from benchmarks.update_page import write_page
from mulde.graph.graph import Graph
from training.evaluate import scores_of
from training.hardware import describe_machine
from training.loop import Progress
from training.recipe import Distillation, Recipe, ScorerSettings, Teacher, Training
from training.train import load_scorer, stages, train_stage
from training.update.continued import UpdateSettings, continue_training
from training.update.growth import Growth

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "update"
CPU = torch.device("cpu")
BETWEEN = 5
"""Between the first and the last snapshot one of so many facts is ranked."""
JUNIOR = ScorerSettings("RESCAL", 32, score="bilinear", spread=0.1)
TRAINING = Training(
    epochs=15,
    batch=500,
    loss="cross-entropy",
    penalty=0.02,
    rate=3e-3,
    schedule="cosine",
    warmup=0.05,
    validate_every=5,
)
SAMPLED = replace(TRAINING, partition="negatives", negatives=UpdateSettings().negatives)
DISTILLATION = Distillation(
    candidates=100,
    gamma=1.0,
    ask_every=5,
    labels="multi-hot",
    weight="query",
    soft_over="unanswered",
    scaling=False,
)


@dataclass(frozen=True)
class Way:
    """How the model of the last snapshot comes about.

    Attributes:
        title: of the page.
        update: settings of the updates; None trains from nothing.
        teachers: how many RESCAL-64 teachers.
        partition: of the cross entropy of a training from nothing.
    """

    title: str
    update: UpdateSettings | None
    teachers: int = 0
    partition: Literal["all", "negatives"] = "all"


_WHOLE = UpdateSettings(replay=0.3, negatives=1 << 30)
WAYS = {
    "update": Way("updates", UpdateSettings()),
    "no-replay": Way("updates without replay", UpdateSettings(replay=0.0)),
    "replay-50": Way("updates, 50 % replay", UpdateSettings(replay=0.5)),
    "memory": Way(
        "updates, 30 % replay, partition over all, the old model as teacher",
        replace(_WHOLE, memory=1.0),
    ),
    "teacher": Way("updates with an updated teacher", UpdateSettings(), teachers=1),
    "nothing": Way("from nothing", None),
    "nothing-sampled": Way("from nothing with a sampled partition", None, partition="negatives"),
    "nothing-teacher": Way("from nothing with a teacher", None, teachers=1),
}

_SUFFIX = {"all": "", "negatives": "-sampled"}

app = typer.Typer(add_completion=False, no_args_is_help=True)


def recipe_of(way: Way) -> Recipe:
    """The recipe of a model that is trained from nothing, for its first snapshot or for all."""
    teacher = Teacher("RESCAL", 64, score="bilinear", spread=0.1)
    return Recipe(
        name="snapshots",
        data="snapshots",
        junior=JUNIOR,
        junior_training=SAMPLED if way.partition == "negatives" else TRAINING,
        teachers=(teacher,) * way.teachers,
        teacher_training=replace(TRAINING, penalty=0.03),
        distillation=DISTILLATION,
        seed=1,
    )


@app.command()
def measure(
    folder: Annotated[Path, typer.Argument(help="Subfolders 0, 1, .. with the splits.")],
    way: Annotated[str, typer.Argument(help=", ".join(WAYS))],
    runs: Annotated[Path, typer.Option(help="Where models are kept.")] = Path("runs/update"),
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
    split: Annotated[str, typer.Option(help="Whose facts are ranked.")] = "test",
    every: Annotated[int, typer.Option(min=1, help="Rank one of so many facts.")] = 1,
) -> None:
    """Train by one way, rank every snapshot's facts after each, and keep a record."""
    torch.set_num_threads(1)
    snapshots, chosen = Snapshots.read(folder), WAYS[way]
    last = len(snapshots.parts) - 1
    kept = runs / folder.name
    steps = range(last + 1) if chosen.update else [last]
    found: dict[str, Any] = {
        "graph": folder.name,
        "way": way,
        "title": chosen.title,
        "settings": None if chosen.update is None else asdict(chosen.update),
        "split": split,
        "every": every,
        "machine": describe_machine(),
        "steps": [],
    }
    old: Graph | None = None
    for step in steps:
        graph = snapshots.graph(step)
        if old is None or chosen.update is None:
            place = kept / f"from-{step}-{chosen.teachers}{_SUFFIX[chosen.partition]}"
            seconds = _from_nothing(chosen, graph, place)
        else:
            before, place = place, kept / f"{way}-{step}"
            seconds = _update(chosen, Growth.between(old, graph), before, place)
        typer.echo(f"{folder.name} {way} {step}: {seconds:.1f} s")
        scorer, _ = load_scorer(place / "junior" / "best.pt", graph)
        one: dict[str, Any] = {"snapshot": step, "seconds": seconds, "entities": graph.num_entities}
        ranked = every if step in (0, last) else every * BETWEEN
        one["quality"] = _kept(
            place / f"quality-{split}-{ranked}.json",
            lambda: snapshots.quality(graph, scores_of(scorer), split, ranked),  # noqa: B023
        )
        for protocol in ("then", "now"):
            mrr = [f"{quality[protocol]['mrr']:.4f}" for quality in one["quality"]]
            typer.echo(f"  {protocol}: {' '.join(mrr)}")
        found["steps"].append(one)
        old = graph
    write_json(records / f"{folder.name}-{way}.json", found)


def _kept(path: Path, make: Callable[[], Any]) -> Any:
    """What a file holds; it is made if need be."""
    if not path.exists():
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf-8"))


def _from_nothing(way: Way, graph: Graph, run: Path) -> float:
    """Train teachers and Junior from nothing; returns the seconds of all."""
    recipe, seconds = recipe_of(way), 0.0
    *teachers, junior, _ = stages(recipe, run)
    for stage in (*teachers, junior):
        clock = Clock(stage.folder)
        train_stage(stage, recipe, graph, CPU, clock.named)
        seconds += clock.stop()
    return seconds


def _update(way: Way, growth: Growth, before: Path, run: Path) -> float:
    """Update teachers and Junior; returns the seconds of all."""
    settings = way.update or UpdateSettings()
    clock = Clock(run)
    taught = []
    for base in sorted((before / "teachers").glob("*/best.pt")):
        folder = run / "teachers" / base.parent.name
        plain = replace(settings, memory=0.0)
        taught.append(continue_training(base, growth, folder, plain, device=CPU, report=clock))
    continue_training(
        before / "junior" / "best.pt",
        growth,
        run / "junior",
        settings,
        device=CPU,
        teachers=taught,
        distillation=DISTILLATION,
        report=clock,
    )
    return clock.stop()


class Clock:
    """Seconds of the processor that a training took, also over an interrupt.

    Args:
        folder: of the training; the seconds are kept in it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "seconds.json"
        self._before = json.loads(self._path.read_text()) if self._path.exists() else [0.0, False]
        self._started = time.process_time()

    def named(self, name: str, progress: Progress) -> None:
        """Keep the seconds up to a checkpoint."""
        self(progress)

    def __call__(self, progress: Progress) -> None:
        """Keep the seconds up to a checkpoint."""
        if progress.validated == progress.epoch:
            self._write(False)

    def stop(self) -> float:
        """Keep the seconds of a whole training and return them."""
        if not self._before[1]:
            self._write(True)
        return float(json.loads(self._path.read_text())[0])

    def _write(self, done: bool) -> None:
        write_json(self._path, [self._before[0] + time.process_time() - self._started, done])


@app.command()
def page(
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
    into: Annotated[Path, typer.Option(help="The page's folder.")] = HERE,
) -> None:
    """Write update.md, update.json and the pictures from the records."""
    write_page(read_records(records), into)


if __name__ == "__main__":
    app()
