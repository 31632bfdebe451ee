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
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mulde.errors import TrainingDiverged
from mulde.evaluation.metrics import RankingTask, Scores
from mulde.storage.atomic import new_file
from training import distributed as parallel
from training.checkpoint import alone, expect, read_checkpoint, write_checkpoint, writing
from training.distillation.objective import HardLabels
from training.distillation.queries import QuerySet
from training.evaluate import scores_of
from training.hardware import describe_machine
from training.optimiser import build_optimiser, rate_factor
from training.recipe import Training
from training.scorers import Scorer

Report = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """What a run knows after an epoch.

    ``mrr`` is the valid MRR of the last validation, in epoch ``validated``; ``best`` is the best.
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
    ) -> None:
        self.objective, self.queries, self.valid = objective, queries, valid
        self.settings, self.folder, self.identity = settings, folder, identity
        self.scorer: Scorer = objective.scorer
        self.generator = torch.Generator(queries.entity.device).manual_seed(seed)
        self.optimiser = build_optimiser(self._weights(), settings)
        steps = math.ceil(len(queries) / settings.batch) * settings.epochs
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: rate_factor(step / steps, settings)
        )
        self.progress = Progress(0, settings.epochs, {}, 0.0, len(queries))

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

    def _weights(self) -> list[torch.nn.Parameter]:
        """All that is trained: the scorer's and the objective's own."""
        both = [*self.scorer.parameters(), *self.objective.parameters()]
        return [weight for weight in both if weight.requires_grad]

    def _refuse_divergence(self, epoch: int, loss: dict[str, float]) -> None:
        """Also after a finite loss: the last step may have left weights that are not."""
        if not all(map(math.isfinite, loss.values())):
            raise self._diverged(epoch, "the loss")
        if not _all_finite(self._weights()):
            raise self._diverged(epoch, "a weight")
        moments = chain.from_iterable(kept.values() for kept in self.optimiser.state.values())
        if not _all_finite(value for value in moments if isinstance(value, torch.Tensor)):
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
        """One pass over all queries in a fresh order; mean losses, of all processes."""
        epoch, device = self.progress.epoch, self.queries.entity.device
        self.objective.begin_epoch(epoch, self.queries)
        order = torch.randperm(len(self.queries), generator=self.generator, device=device)
        sums: dict[str, torch.Tensor] = {}
        parts = torch.split(order, self.settings.batch)
        for index in parts:
            batch = self.queries.share(index, *parallel.place())
            loss, shares = self.objective(batch, epoch, self.generator)
            self.optimiser.zero_grad()
            loss.backward()
            parallel.sum_gradients(self._weights())
            self.optimiser.step()
            self.schedule.step()
            for name, value in shares.items():
                sums[name] = sums[name] + value if name in sums else value
        return {name: float(parallel.summed(v)) / len(parts) for name, v in sums.items()}

    def _validate(self) -> None:
        """Rank the valid split; if this process writes, keep what is to be kept."""
        device = self.queries.entity.device
        quality = parallel.quality(self.valid, self._finite(scores_of(self.scorer)), device)
        mrr, progress = quality["total"]["mrr"], self.progress
        best = mrr > progress.best or not (self.folder / "best.pt").exists()
        self.progress = replace(
            progress,
            mrr=mrr,
            best=mrr if best else progress.best,
            best_epoch=progress.epoch if best else progress.best_epoch,
            validated=progress.epoch,
        )
        if parallel.leads():
            self._keep(quality, best)

    def _keep(self, quality: dict[str, dict[str, float]], best: bool) -> None:
        """Write the checkpoints and the record."""
        facts = {"identity": self.identity, "progress": asdict(self.progress)}
        if best:
            weights = {name: value.cpu() for name, value in self.scorer.state_dict().items()}
            kept = {
                **facts,
                "machine": describe_machine(self.queries.entity.device) + parallel.described(),
                "model": weights,
                "objective": self.objective.state_dict(),
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
            "objective": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state().cpu(),
        }

    def _resume(self) -> None:
        """Continue from ``last.pt``, if there is one."""
        path = self.folder / "last.pt"
        if not path.exists():
            return
        state = read_checkpoint(path)
        expect(path, state.get("identity"), self.identity, "identity")
        self.scorer.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        self.progress = Progress(**state["progress"])

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
