"""The training loop: batches, steps, validation, best checkpoint, resume.

A run's folder holds ``last.pt`` (resumes), ``best.pt`` (best valid MRR) and ``record.jsonl``
(a line per validation). A run that was interrupted anywhere continues from ``last.pt`` and ends
with the same weights as one that was not, on the same machine and thread count.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mulde.errors import CheckpointError, TrainingDiverged
from mulde.evaluation.metrics import RankingTask, Scores
from mulde.evaluation.ranking import summarise
from mulde.storage.atomic import new_file
from training import distributed as parallel
from training.checkpoint import alone, expect, read_checkpoint, write_checkpoint, writing
from training.distillation.objective import HardLabels
from training.distillation.queries import QuerySet
from training.evaluate import half_width, sampled, scores_of
from training.hardware import describe_machine
from training.optimiser import Optimiser
from training.recipe import Training
from training.scorers import BilinearScorer, Scorer

Report = Callable[["Progress"], None]
_FALL = 0.05
"""Share of the best valid MRR by which a later one may be lower."""


@dataclass(frozen=True)
class Progress:
    """What a run knows after an epoch.

    ``mrr`` is the valid MRR of the last validation, in epoch ``validated``; ``best`` is the best.
    ``error`` is half the 95 % confidence interval of ``mrr`` where valid was sampled, else 0.
    ``warning`` tells what is wrong with the training as a whole.
    """

    epoch: int
    epochs: int
    loss: dict[str, float]
    seconds: float
    queries: int
    mrr: float = 0.0
    best: float = 0.0
    best_epoch: int = 0
    validated: int = 0
    error: float = 0.0
    warning: str = ""


class Epochs(Protocol):
    """Which queries an epoch trains on."""

    def __len__(self) -> int:
        """Queries of an epoch, the same number in each."""

    def order(self, generator: torch.Generator) -> torch.Tensor:
        """Rows of the queries of one epoch, shuffled, on the host."""


@dataclass(frozen=True)
class AllQueries:
    """Each epoch is one pass over all queries."""

    count: int

    def __len__(self) -> int:
        """Q."""
        return self.count

    def order(self, generator: torch.Generator) -> torch.Tensor:
        """All rows, shuffled."""
        return torch.randperm(self.count, generator=generator)


class Run:
    """One model's training, from the first step or from its last checkpoint.

    Args:
        objective: what is minimised; its scorer is the model.
        queries: the training queries, on the device.
        valid: how a model is chosen.
        settings: how it is fitted.
        folder: where checkpoints and the record go.
        identity: plain facts stored in each checkpoint; a checkpoint with others is refused.
        seed: of the order of batches and the negatives.
        ranked_by: the scores that rank valid, made of the scorer's own.
        epochs: the queries of each epoch; None for all of them.
    """

    def __init__(
        self,
        objective: HardLabels,
        queries: QuerySet,
        valid: RankingTask,
        settings: Training,
        folder: Path,
        identity: dict[str, Any],
        seed: int,
        ranked_by: Callable[[Scores], Scores] = lambda scores: scores,
        epochs: Epochs | None = None,
    ) -> None:
        self.objective, self.queries = objective, queries
        self.valid = sampled(valid, objective.scorer.num_entities)
        self._all_valid = len(self.valid.target) == len(valid.target)
        self.settings, self.folder, self.identity = settings, folder, identity
        self.scorer: Scorer = objective.scorer
        self._ranked_by = ranked_by
        self.generator = torch.Generator().manual_seed(seed)
        self.epochs: Epochs = epochs or AllQueries(len(queries))
        self.optimiser = Optimiser(objective, settings, queries, per_epoch=len(self.epochs))
        self.progress = Progress(0, settings.epochs, {}, 0.0, len(self.epochs))

    def fit(self, report: Report = lambda progress: None) -> Path:
        """Train to the last epoch and return the path of the best checkpoint.

        Raises:
            TrainingDiverged: when a loss, weight or score is no longer finite; the checkpoints
                stay.
            CheckpointError: when ``last.pt`` is damaged or belongs to another run, nothing can be
                written, or another process is training into the folder.
        """
        self._continue()
        if self.progress.epoch < self.settings.epochs:
            with alone(self.folder) if parallel.leads() else nullcontext():
                self._continue()  # another run may just have finished
                if parallel.leads():
                    self._cut_record()
                self._train(report)
        parallel.wait()
        return self.folder / "best.pt"

    def _continue(self) -> None:
        """Resume, all processes from the same epoch."""
        self._resume()
        parallel.agree(self.folder / "last.pt", self.progress.epoch)

    def _train(self, report: Report) -> None:
        while self.progress.epoch < self.settings.epochs:
            started = time.perf_counter()
            loss = self._epoch()
            done = self.progress.epoch + 1
            self._refuse_divergence(done, loss)
            seconds = self.progress.seconds + time.perf_counter() - started
            self.progress = replace(self.progress, epoch=done, loss=loss, seconds=seconds)
            if done % self.settings.validate_every == 0 or done == self.settings.epochs:
                self._validate()
            report(self.progress)

    def _refuse_divergence(self, epoch: int, loss: dict[str, float]) -> None:
        """Also after a finite loss: the last step may have left weights that are not."""
        if not all(map(math.isfinite, loss.values())):
            raise self._diverged(epoch, "the loss")
        if not _all_finite(self.optimiser.weights.values()):
            raise self._diverged(epoch, "a weight")
        moments = self.optimiser.moments().values()
        if not _all_finite(value for kept in moments for value in kept.values()):
            raise self._diverged(epoch, "a moment of the optimiser")

    def _finite(self, scores: Scores) -> Scores:
        """The same scores; weights that are still finite may have left some that are not."""

        def checked(entity: NDArray[np.int64], relation: NDArray[np.int64]) -> NDArray[np.floating]:
            found = scores(entity, relation)
            if not np.isfinite(found).all():
                raise self._diverged(self.progress.epoch, "a score")
            return found

        return checked

    def _diverged(self, epoch: int, what: str) -> TrainingDiverged:
        last = self.folder / "last.pt"
        return TrainingDiverged(epoch, what, last if last.exists() else None)

    def _epoch(self) -> dict[str, float]:
        """One pass over the epoch's queries in a fresh order; mean losses, of all processes.

        Order and negatives are drawn on the host, so that all devices draw the same.
        """
        epoch, settings = self.progress.epoch, self.settings
        self.objective.begin_epoch(epoch, self.queries)
        order = self.epochs.order(self.generator)
        steps = math.ceil(len(order) / settings.batch)
        shape = (steps, settings.negatives)
        entities = self.scorer.num_entities
        negatives = torch.randint(entities, shape, generator=self.generator)
        batches = self.queries.batches(order, settings.batch, *parallel.place())
        sums: dict[str, torch.Tensor] = {}
        for batch, drawn in zip(batches, negatives.to(self.queries.entity.device), strict=True):
            shares = self.optimiser.take(self.objective.step(batch, drawn), epoch)
            for name, value in shares.items():
                sums[name] = sums[name] + value if name in sums else value
        return {name: float(parallel.summed(v)) / steps for name, v in sums.items()}

    def _validate(self) -> None:
        """Rank the valid split; if this process writes, keep what is to be kept."""
        device = self.queries.entity.device
        self.optimiser.flush()
        ranks = parallel.ranks(self.valid, self._scores(), device)
        quality = summarise(*np.split(ranks, 2))
        mrr, progress = quality["total"]["mrr"], self.progress
        best = mrr > progress.best or not (self.folder / "best.pt").exists()
        self.progress = replace(
            progress,
            mrr=mrr,
            best=mrr if best else progress.best,
            best_epoch=progress.epoch if best else progress.best_epoch,
            validated=progress.epoch,
            error=0.0 if self._all_valid else half_width(ranks),
        )
        settings, has_penalty = self.settings, isinstance(self.scorer, BilinearScorer)
        self.progress = replace(
            self.progress, warning=overfits(self.progress, settings, has_penalty)
        )
        if parallel.leads():
            self._keep(quality, best)

    def _scores(self) -> Scores:
        """Return the scores that rank valid."""
        return self._ranked_by(self._finite(scores_of(self.scorer)))

    def _keep(self, quality: dict[str, dict[str, float]], best: bool) -> None:
        """Write the checkpoints and the record."""
        facts = {"identity": self.identity, "progress": asdict(self.progress)}
        if best:
            weights = {name: value.cpu() for name, value in self.scorer.state_dict().items()}
            kept = {
                **facts,
                "machine": describe_machine(self.queries.entity.device) + parallel.described(),
                "model": weights,
                "objective": self.objective.own_state(),
            }
            write_checkpoint(self.folder / "best.pt", {**kept, "valid": quality})
        self._record({**asdict(self.progress), "valid": quality})
        write_checkpoint(self.folder / "last.pt", {**facts, **self._state()})

    def _record(self, facts: dict[str, Any]) -> None:
        path = self.folder / "record.jsonl"
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.scorer.state_dict(),
            "objective": self.objective.own_state(),
            "optimiser": self.optimiser.state(),
            "generator": self.generator.get_state(),
        }

    def _resume(self) -> None:
        """Continue from ``last.pt``, if there is one."""
        path = self.folder / "last.pt"
        if not path.exists():
            return
        state = read_checkpoint(path)
        expect(path, state.get("identity"), self.identity, "identity")
        self.progress = Progress(**state["progress"])
        if self.progress.epoch >= self.settings.epochs:
            return
        if "schedule" in state:
            problem = "is of an older version that stopped within a training; train it anew"
            raise CheckpointError(path, problem)
        self.scorer.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"], strict=False)
        self.optimiser.load(state["optimiser"])
        self.generator.set_state(state["generator"])

    def _cut_record(self) -> None:
        """Drop what an interrupted run recorded after the checkpoint that we continue from."""
        path = self.folder / "record.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        kept = [line for line in whole if json.loads(line)["epoch"] <= self.progress.epoch]
        with writing(path), new_file(path) as draft:
            draft.write_bytes(b"".join(kept))


def _all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def overfits(progress: Progress, settings: Training, has_penalty: bool) -> str:
    """Return a warning if the first validation was the best and valid MRR has fallen well below it.

    The warning names the key to change; it is empty otherwise.
    """
    first = min(settings.validate_every, settings.epochs)
    if progress.best_epoch != first or progress.mrr > (1 - _FALL) * progress.best:
        return ""
    change = f"lower rate (now {settings.rate:g})"
    if has_penalty:
        change = f"raise penalty (now {settings.penalty:g})"
    return (
        f"valid MRR was best at the first validation ({progress.best:.4f} in epoch {first}) and "
        f"has fallen to {progress.mrr:.4f}: the model overfits; {change} in its training table"
    )
