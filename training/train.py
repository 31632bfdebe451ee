"""From a recipe to trained models: teachers, Junior, baseline.

A run's folder::

    RUN/recipe.toml            the recipe as it was read
    RUN/teachers/SCORER-D-id/  one folder per teacher, named by what decides it
    RUN/junior/                the distilled model
    RUN/baseline/                  the same model and schedule without teachers

Teachers are found by identity, so recipes that share teachers can share ``--teachers``.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mulde.errors import CheckpointError, ConfigError
from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.self_loops import loopless, without_loops
from mulde.graph.graph import Graph
from training.checkpoint import read_checkpoint
from training.distillation.objective import Distilled, HardLabels
from training.distillation.queries import QuerySet
from training.evaluate import self_loop_relations
from training.hardware import threads_for
from training.loop import Progress, Run
from training.recipe import Recipe, ScorerSettings, Training, decisive, digest_of
from training.scorers import Scorer, build_scorer

Report = Callable[[str, Progress], None]
Device = torch.device
"""Where a model is trained, for callers that do not import torch."""


@dataclass(frozen=True)
class Stage:
    """One model to train: where, what, how; ``teachers`` is empty for a direct training."""

    name: str
    folder: Path
    model: ScorerSettings
    training: Training
    seed: int
    teachers: tuple[Path, ...] = ()


def stages(recipe: Recipe, run: Path, teachers: Path | None = None) -> list[Stage]:
    """All models of a recipe, in order: teachers, junior, baseline."""
    kept = teachers or run / "teachers"
    found = []
    for number, teacher in enumerate(recipe.teachers, start=1):
        training = teacher.training or recipe.teacher_training
        assert training is not None, "a recipe checks this"
        facts = [decisive(teacher.model), decisive(training), teacher.seed]
        folder = kept / f"{teacher.scorer}-{teacher.dimension}-{digest_of(facts)[:8]}"
        name = f"teacher {number} {teacher.scorer}"
        found.append(Stage(name, folder, teacher.model, training, teacher.seed))
    asked = tuple(stage.folder / "best.pt" for stage in found)
    own = (recipe.junior, recipe.junior_training, recipe.seed)
    return [
        *found,
        Stage("junior", run / "junior", *own, asked),
        Stage("baseline", run / "baseline", *own),
    ]


def train_stage(
    stage: Stage,
    recipe: Recipe,
    graph: Graph,
    device: torch.device,
    report: Report = lambda name, progress: None,
    *,
    self_loops: bool = True,
) -> Path:
    """Train one model, or go on with it, and return its best checkpoint.

    Args:
        stage: the model.
        recipe: for its distillation.
        graph: what is learnt.
        device: where.
        report: is told of every epoch.
        self_loops: whether valid is ranked with self-loops among the candidates, as papers do, or
            without those that are not served.
    """
    scorer = new_scorer(stage.model, graph, stage.seed).to(device)
    identity: dict[str, Any] = {
        "graph": graph.digest,
        "model": decisive(stage.model),
        "training": decisive(stage.training),
        "seed": stage.seed,
    }
    objective = HardLabels(scorer, stage.training)
    if stage.teachers:
        asked = [load_scorer(path, graph)[0].to(device) for path in stage.teachers]
        identity["distillation"] = decisive(recipe.distillation)
        identity["teachers"] = [path.parent.name for path in stage.teachers]
        objective = Distilled(scorer, stage.training, recipe.distillation, asked, stage.folder).to(
            device
        )
    queries = QuerySet.of(graph.train, graph.num_relations, graph.num_entities).to(device)
    run = Run(
        objective,
        queries,
        RankingTask.of(graph, "valid"),
        stage.training,
        stage.folder,
        identity,
        stage.seed,
        _as_scored if self_loops else _without_self_loops(graph, recipe),
    )
    with threads_for(graph.num_entities):
        return run.fit(lambda progress: report(stage.name, progress))


def _as_scored(scores: Scores) -> Scores:
    return scores


def _without_self_loops(graph: Graph, recipe: Recipe) -> Callable[[Scores], Scores]:
    mask = loopless(self_loop_relations(graph, recipe), graph.num_relations)
    return lambda scores: without_loops(scores, mask)


def train_side_by_side(
    chosen: Sequence[Stage],
    recipe: Recipe,
    graph: Graph,
    device: torch.device,
    jobs: int,
    report: Report,
) -> None:
    """Train independent stages in ``jobs`` processes of one thread each.

    An error in one stage is raised here when the others, which keep what they learnt, are done.
    """
    if jobs == 1 or len(chosen) == 1:
        for stage in chosen:
            train_stage(stage, recipe, graph, device, report)
        return
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(jobs, context) as pool:
        news = manager.Queue()
        waiting = [
            pool.submit(_train_in_process, stage, recipe, graph, str(device), news)
            for stage in chosen
        ]
        for future in waiting:
            future.add_done_callback(lambda done: news.put(None))
        running = len(waiting)
        while running:
            item = news.get()
            if item is None:
                running -= 1
            else:
                report(*item)
        for future in waiting:
            future.result()


def _train_in_process(stage: Stage, recipe: Recipe, graph: Graph, device: str, news: Any) -> None:
    torch.set_num_threads(1)
    train_stage(stage, recipe, graph, torch.device(device), lambda name, p: news.put((name, p)))


def load_scorer(path: Path, graph: Graph) -> tuple[Scorer, dict[str, Any]]:
    """The scorer of a ``best.pt`` and the checkpoint's facts.

    Raises:
        CheckpointError: if it was trained on another graph.
    """
    state = read_checkpoint(path)
    identity = state.get("identity", {})
    if identity.get("graph") != graph.digest:
        problem = f"was trained on another graph than {graph.name} (digest {graph.digest[:12]})"
        raise CheckpointError(path, problem)
    try:
        scorer = new_scorer(ScorerSettings(**identity["model"]), graph, identity["seed"])
        scorer.load_state_dict(state["model"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(path, f"does not hold the model it names: {error}") from error
    return scorer.eval(), state


def read_record(folder: Path) -> list[dict[str, Any]]:
    """The validations of a run so far, in order; a line that is still being written is left out."""
    lines = (folder / "record.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def new_scorer(model: ScorerSettings, graph: Graph, seed: int) -> Scorer:
    """A model before its first step."""
    return build_scorer(
        model.scorer,
        entities=graph.num_entities,
        relations=graph.num_relations,
        dimension=model.dimension,
        score=model.score,
        spread=model.spread,
        rotations=model.rotations,
        seed=seed,
    )


def pick_device(name: str) -> torch.device:
    """``auto`` is a GPU if there is one; anything else is what torch calls it.

    Raises:
        ConfigError: for a device that torch does not know or that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError("device", "auto, cpu or a GPU of this machine", name) from error
