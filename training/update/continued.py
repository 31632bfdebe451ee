"""Continue the training of one model on a changed graph.

Hard labels are the changed queries and a replayed sample of the others. Soft labels come from
updated teachers, which answer all queries, or from the model as it was, which answers the queries
that did not change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from mulde.errors import CheckpointError, ConfigError
from mulde.evaluation.metrics import RankingTask
from training.distillation.objective import Distilled, HardLabels
from training.loop import Progress, Run
from training.recipe import Distillation, ScorerSettings, Training, decisive
from training.scorers import Scorer
from training.train import load_scorer, new_scorer
from training.update.grow import grow
from training.update.growth import Growth
from training.update.replay import Replay

Report = Callable[[Progress], None]
_SAMPLED_FROM = 2


@dataclass(frozen=True)
class UpdateSettings:
    """How an update trains.

    Attributes:
        epochs: of the changed queries and as many samples of the others.
        replay: share of the other queries that an epoch repeats, in [0, 1]; few changes repeat
            fewer (``training.update.replay``).
        rate: learning rate as a multiple of the model's own.
        memory: weight gamma of the soft labels of the model as it was, on queries that did not
            change; 0, the default, leaves them out: with replay they gain .001. Without updated
            teachers only.
        candidates: how many answers the model as it was scores for a query.
        negatives: entities that stand for all others in a step of cross entropy, beside the
            targets; a graph with fewer than ``_SAMPLED_FROM`` times as many is summed over whole.
    """

    epochs: int = 5
    replay: float = 1.0
    rate: float = 1.0
    memory: float = 0.0
    candidates: int = 100
    negatives: int = 2048


def continue_training(
    base: Path,
    growth: Growth,
    folder: Path,
    settings: UpdateSettings,
    *,
    device: torch.device,
    teachers: Sequence[Path] = (),
    distillation: Distillation | None = None,
    about: Mapping[str, str | float] = MappingProxyType({}),
    report: Report = lambda progress: None,
) -> Path:
    """Train a model further and return its best checkpoint; resumes an interrupted update.

    Args:
        base: the model's ``best.pt`` on ``growth.old``.
        growth: the old and the new graph.
        folder: of the new checkpoints.
        settings: of the update.
        device: where to train.
        teachers: checkpoints of updated teachers on the new graph.
        distillation: how they teach.
        about: further facts about the update, for the card.
        report: is told of every epoch.

    Raises:
        ConfigError: if there is no query to train on.
        CheckpointError: for a model that was trained elsewhere, a checkpoint of another graph, or a
            folder of another update.
    """
    old, state = load_scorer(base, growth.old)
    found = state["identity"]
    if "imported" in found["training"]:
        problem = "was trained elsewhere, with a loss that is not known here"
        raise CheckpointError(base, f"{problem}; distil it with mulde distill and update that")
    model, seed = ScorerSettings(**found["model"]), found["seed"]
    training = shortened(Training(**found["training"]), settings, growth.graph.num_entities)
    solved = training.loss == "cross-entropy"
    fresh = new_scorer(model, growth.graph, seed)
    scorer = grow(old, fresh, growth, seed, solved=solved).to(device)
    identity: dict[str, Any] = {
        "graph": growth.graph.digest,
        "model": decisive(model),
        "training": decisive(training),
        "seed": seed,
        "update": {**asdict(settings), **growth.counts, "graph": growth.old.digest, **about},
    }
    epochs = Replay(growth.changed, settings.replay)
    if not len(epochs):
        raise ConfigError("--replay", "a number above 0, since no changed query is left", 0)
    soft = distillation if teachers else memory_of(settings)
    objective = HardLabels(scorer, training)
    if soft is not None:
        if len(epochs) * settings.epochs < len(growth.queries):
            soft = replace(soft, ask_every=0)  # all steps together ask fewer queries than there are
        asked, taught = _asked(teachers, scorer, growth, device)
        objective = Distilled(scorer, training, soft, asked, folder, taught).to(device)
    if soft is not None and teachers:
        identity |= {"distillation": decisive(soft)}
        identity["teachers"] = [path.parent.name for path in teachers]
    run = Run(
        objective,
        growth.queries.to(device),
        RankingTask.of(growth.graph, "valid"),
        training,
        folder,
        identity,
        seed,
        epochs=epochs,
    )
    return run.fit(report)


def _asked(
    teachers: Sequence[Path], scorer: Scorer, growth: Growth, device: torch.device
) -> tuple[list[Scorer], Tensor | None]:
    """Return who gives soft labels, and for which queries; None for all.

    Updated teachers answer all queries, the model as it was those that did not change.
    """
    if teachers:
        return [load_scorer(path, growth.graph)[0].to(device) for path in teachers], None
    return [copy.deepcopy(scorer)], torch.from_numpy(~growth.changed).to(device)


def shortened(training: Training, settings: UpdateSettings, entities: int) -> Training:
    """The model's own training, for the epochs of an update.

    Cross entropy over many entities is estimated from the targets and some others.
    """
    estimated: dict[str, Any] = {}
    if training.loss == "cross-entropy" and entities > _SAMPLED_FROM * settings.negatives:
        estimated = {"partition": "negatives", "negatives": settings.negatives}
    return replace(
        training,
        epochs=settings.epochs,
        rate=training.rate * settings.rate,
        validate_every=settings.epochs,
        schedule="cosine",
        warmup=max(training.warmup, 0.05),
        **estimated,
    )


def memory_of(settings: UpdateSettings) -> Distillation | None:
    """How the model as it was teaches the queries that did not change; None for not at all."""
    if not settings.memory:
        return None
    return Distillation(
        candidates=settings.candidates,
        gamma=settings.memory,
        ask_every=settings.epochs,
        labels="multi-hot",
        weight="query",
        scaling=False,
        attention=False,
    )
