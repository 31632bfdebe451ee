"""Triples -> distinct queries with their targets, and the batches of an epoch.

Every triple (h, r, t) is also its reciprocal (t, r + R, h), so each question is a query
(entity, relation, ?) with relation in [0, 2R). Many triples share a query (WN18RR: 173,670
triples of both directions are 103,509 queries); a batch holds distinct queries, so each is encoded
and scored once, whatever number of targets it has.

Sizes of batches are computed on the host, so that no step waits for a device.

Shape letters: n triples, R relations, Q distinct queries, B queries of a batch, P its targets,
N negatives, K candidates, M teachers, U distinct entities that a step reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def both_directions(triples: NDArray[np.int32], relations: int) -> NDArray[np.int64]:
    """Return [2n, 3] of (entity, relation, target): the n triples, then their n reciprocals."""
    forward = triples.astype(np.int64)
    backward = forward[:, [2, 1, 0]] + np.array([0, relations, 0])
    return np.concatenate([forward, backward])


@dataclass(frozen=True)
class Batch:
    """Some distinct queries and all their targets.

    Attributes:
        index: [B], rows of the query set.
        entity, relation: [B].
        count: [B], number of targets of each query.
        owner: [P], ascending, the position in the batch that each target belongs to.
        target: [P], rows of entities.
        of_queries, of_triples: this process' share of the whole batch. Its mean losses times these
            add up to the means of the whole batch.
    """

    index: Tensor
    entity: Tensor
    relation: Tensor
    count: Tensor
    owner: Tensor
    target: Tensor
    of_queries: float = 1.0
    of_triples: float = 1.0


@dataclass(frozen=True)
class CandidateScores:
    """Entities that the Junior and its teachers score for each query.

    Attributes:
        rows: [B, K] int64.
        opinions: [B, M, K], the teachers' scores.
        answered: [B, K] bool, true for targets of the query in train.
    """

    rows: Tensor
    opinions: Tensor
    answered: Tensor


@dataclass(frozen=True)
class Step:
    """All that one training step reads; ``candidates`` is None without teachers."""

    batch: Batch
    negatives: Tensor
    candidates: CandidateScores | None = None

    def rows(self) -> Tensor:
        """Return the entity rows that the step reads, with repetitions."""
        parts = [self.batch.entity, self.batch.target, self.negatives]
        if self.candidates is not None:
            parts.append(self.candidates.rows.flatten())
        return torch.cat(parts)

    def renumbered(self, numbers: Tensor) -> Step:
        """Return the step with other entity numbers, given in the order of ``rows``."""
        batch = self.batch
        sizes = [len(batch.entity), len(batch.target), len(self.negatives)]
        entity, target, negatives, rest = numbers.split([*sizes, len(numbers) - sum(sizes)])
        candidates = self.candidates
        if candidates is not None:
            candidates = replace(candidates, rows=rest.view_as(candidates.rows))
        return Step(replace(batch, entity=entity, target=target), negatives, candidates)


@dataclass(frozen=True)
class QuerySet:
    """Distinct queries, sorted by (relation, entity), with their targets as compressed rows.

    Attributes:
        entity, relation: [Q].
        offsets: [Q + 1], where each query's targets begin.
        target: [2n].
        lengths: [Q], number of targets of each query; on the host.
    """

    entity: Tensor
    relation: Tensor
    offsets: Tensor
    target: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, triples: NDArray[np.int32], relations: int, entities: int) -> QuerySet:
        """Group triples [n, 3] of both directions by query."""
        rows = both_directions(triples, relations)
        key = rows[:, 1] * entities + rows[:, 0]
        order = np.lexsort((rows[:, 2], key))
        unique, first = np.unique(key[order], return_index=True)
        offsets = np.append(first, len(rows))
        return cls(
            entity=torch.from_numpy(unique % entities),
            relation=torch.from_numpy(unique // entities),
            offsets=torch.from_numpy(offsets),
            target=torch.from_numpy(rows[order, 2]),
            lengths=torch.from_numpy(np.diff(offsets)),
        )

    def __len__(self) -> int:
        """Q."""
        return len(self.entity)

    def to(self, device: torch.device) -> QuerySet:
        """Return the same queries on another device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("entity", "relation", "offsets", "target")
        }
        return replace(self, **moved)

    def batches(
        self, order: Tensor, size: int, rank: int = 0, processes: int = 1
    ) -> Iterator[Batch]:
        """Yield one process' part of each batch of ``order`` [Q], which is on the host.

        A part is every ``processes``-th query from ``rank`` on. A process whose part is empty gets
        the batch's first query with a share of 0.
        """
        on_device = order.to(self.entity.device)
        for start in range(0, len(order), size):
            stop = min(start + size, len(order))
            if processes == 1:
                yield self.batch(on_device[start:stop], int(self.lengths[order[start:stop]].sum()))
                continue
            part = slice(start + rank, stop, processes) if start + rank < stop else [start]
            lengths = self.lengths[order[part]]
            mine = len(lengths) * (start + rank < stop)
            share = int(lengths.sum()) / int(self.lengths[order[start:stop]].sum())
            yield replace(
                self.batch(on_device[part], int(lengths.sum())),
                of_queries=mine / (stop - start),
                of_triples=share * bool(mine),
            )

    def batch(self, index: Tensor, targets: int | None = None) -> Batch:
        """Return the queries ``index`` [B] with their targets.

        Args:
            index: on the queries' device.
            targets: P, if the caller knows it; otherwise the host waits for the device.
        """
        start = self.offsets[index]
        count = self.offsets[index + 1] - start
        places = torch.arange(len(index), device=index.device)
        total = int(count.sum()) if targets is None else targets
        owner = torch.repeat_interleave(places, count, output_size=total)
        before = torch.cumsum(count, 0) - count
        place = torch.arange(total, device=index.device) + (start - before)[owner]
        return Batch(
            index, self.entity[index], self.relation[index], count, owner, self.target[place]
        )


def is_target(batch: Batch, rows: Tensor, entities: int) -> Tensor:
    """[B, K] bool: whether candidate ``rows`` [B, K] in [0, E) are targets of their query."""
    known = batch.owner * entities + batch.target  # ascending, as queries keep targets sorted
    places = torch.arange(len(rows), device=rows.device).unsqueeze(-1)
    asked = places * entities + rows
    at = torch.searchsorted(known, asked).clamp_max(len(known) - 1)
    return known[at] == asked
