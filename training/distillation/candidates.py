"""Choose the candidates of queries, have the teachers score them, and keep both.

A kept candidate takes ``5 + 2 M`` bytes: its row in int32, the teachers' scores in fp16 as
differences from each teacher's best one, and whether it is a target. Beyond ``MEMORY_BYTES`` all
lie in files that are mapped into memory.

Shape letters: B queries, K candidates, M teachers, Q all queries, E entities.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from training import distributed as parallel
from training.distillation.queries import Batch, CandidateScores, QuerySet, is_target
from training.ops.top_k import TopK
from training.recipe import Distillation
from training.scorers import Scorer

MEMORY_BYTES = 2 << 30
_TOGETHER = 1024
"""Queries that are asked at once."""


class Chooser:
    """The candidates of any query, for models as they are now.

    Args:
        junior: the model that is trained.
        teachers: M frozen models.
        settings: K, and whose top K it is.
    """

    def __init__(self, junior: Scorer, teachers: Sequence[Scorer], settings: Distillation) -> None:
        self._junior, self._teachers, self._settings = junior, teachers, settings
        self._count = min(settings.candidates, junior.num_entities)
        table = junior.linear_table() if settings.choose == "junior" else None
        self._top = None if table is None else TopK(table.detach(), self._count)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> CandidateScores:
        """Return the candidates of a batch of queries."""
        encoded = [teacher.query(batch.entity, batch.relation) for teacher in self._teachers]
        pairs = list(zip(self._teachers, encoded, strict=True))
        if self._settings.choose == "teachers":
            scores = torch.stack([t.score_shared(q) for t, q in pairs]).mean(0)
            rows = scores.topk(self._count, sorted=False).indices
        else:
            rows = self._own(self._junior.query(batch.entity, batch.relation))
        opinions = torch.stack([t.score_own(q, rows) for t, q in pairs], 1)
        return CandidateScores(rows, opinions, is_target(batch, rows, self._junior.num_entities))

    def _own(self, query: object) -> Tensor:
        """The Junior's top K."""
        if self._top is not None:
            return self._top(self._junior.linear_queries(query))
        return self._junior.score_shared(query).topk(self._count, sorted=False).indices


class KeptCandidates:
    """The candidates of all queries, chosen once and read for many steps.

    Args:
        queries: Q.
        chooser: chooses them.
        candidates, teachers: K and M.
        folder: where a file may lie.
    """

    def __init__(
        self, queries: QuerySet, chooser: Chooser, candidates: int, teachers: int, folder: Path
    ) -> None:
        count, device = len(queries), queries.entity.device
        shapes: list[tuple[torch.dtype, tuple[int, ...]]] = [
            (torch.int32, (count, candidates)),
            (torch.float16, (count, teachers, candidates)),
            (torch.float32, (count, teachers, 1)),
            (torch.uint8, (count, candidates)),
        ]
        size = sum(math.prod(shape) * dtype.itemsize for dtype, shape in shapes)
        mapped = size > MEMORY_BYTES and device.type == "cpu"
        make = _mapped if mapped else _allocated
        self._rows, self._opinions, self._best, self._answered = (
            make(dtype, shape, device, folder) for dtype, shape in shapes
        )
        first, end = parallel.own_part(count)
        for start in range(first, end, _TOGETHER):
            part = slice(start, min(start + _TOGETHER, end))
            rows = torch.arange(part.start, part.stop, device=device)
            self._put(part, chooser(queries.batch(rows, int(queries.lengths[part].sum()))))
        for kept in (self._rows, self._opinions, self._best, self._answered):
            parallel.share_parts(kept)

    def _put(self, part: slice, found: CandidateScores) -> None:
        self._best[part] = best = found.opinions.amax(-1, keepdim=True)
        self._rows[part] = found.rows
        self._opinions[part] = found.opinions - best
        self._answered[part] = found.answered

    def of(self, index: Tensor) -> CandidateScores:
        """Return the candidates of the queries ``index`` [B]."""
        opinions = self._best[index] + self._opinions[index]
        return CandidateScores(self._rows[index].long(), opinions, self._answered[index].bool())


def _allocated(
    dtype: torch.dtype, shape: tuple[int, ...], device: torch.device, folder: Path
) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=device)


def _mapped(
    dtype: torch.dtype, shape: tuple[int, ...], device: torch.device, folder: Path
) -> Tensor:
    """A tensor in a file of its own, which goes when the tensor does."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".candidates", dir=folder)
    os.close(handle)
    try:
        size = math.prod(shape)
        return torch.from_file(name, shared=True, size=size, dtype=dtype).view(shape)
    finally:
        Path(name).unlink()
