"""Triples -> distinct queries with their targets.

Every triple (h, r, t) is also its reciprocal (t, r + R, h), so each question is a query
(entity, relation, ?) with relation in [0, 2R). Many triples share a query (WN18RR: 173,670
triples of both directions are 103,509 queries); a batch holds distinct queries, so each is encoded
and scored once, whatever number of targets it has.

Shape letters: n triples, R relations, Q distinct queries, B queries of a batch, P its targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def both_directions(triples: NDArray[np.int32], relations: int) -> NDArray[np.int64]:
    """[2n, 3] of (entity, relation, target): the n triples, then their n reciprocals."""
    forward = triples.astype(np.int64)
    backward = forward[:, [2, 1, 0]] + np.array([0, relations, 0])
    return np.concatenate([forward, backward])


@dataclass(frozen=True)
class Batch:
    """Some distinct queries and all their targets.

    Attributes:
        index: [B], which queries of the set.
        entity, relation: [B].
        count: [B], number of targets of each query.
        owner: [P], ascending, the position in the batch that each target belongs to.
        target: [P], rows of entities.
        of_queries, of_triples: what share of the whole batch's this is, where several processes
            work on one batch: its means times these add up to the means of the whole.
    """

    index: Tensor
    entity: Tensor
    relation: Tensor
    count: Tensor
    owner: Tensor
    target: Tensor
    of_queries: float = 1.0
    of_triples: Tensor | float = 1.0


@dataclass(frozen=True)
class QuerySet:
    """Distinct queries, sorted by (relation, entity), with their targets as compressed rows."""

    entity: Tensor
    relation: Tensor
    offsets: Tensor
    target: Tensor

    @classmethod
    def of(cls, triples: NDArray[np.int32], relations: int, entities: int) -> QuerySet:
        """Group triples [n, 3] of both directions by query."""
        rows = both_directions(triples, relations)
        key = rows[:, 1] * entities + rows[:, 0]
        order = np.lexsort((rows[:, 2], key))
        unique, first = np.unique(key[order], return_index=True)
        return cls(
            entity=torch.from_numpy(unique % entities),
            relation=torch.from_numpy(unique // entities),
            offsets=torch.from_numpy(np.append(first, len(rows))),
            target=torch.from_numpy(rows[order, 2]),
        )

    def __len__(self) -> int:
        """Q."""
        return len(self.entity)

    def to(self, device: torch.device) -> QuerySet:
        """The same queries on another device."""
        moved = (t.to(device) for t in (self.entity, self.relation, self.offsets, self.target))
        return QuerySet(*moved)

    def batch(self, index: Tensor) -> Batch:
        """The queries ``index`` [B] with their targets; no loop, no host round trip on a CPU."""
        start = self.offsets[index]
        count = self.offsets[index + 1] - start
        owner = torch.repeat_interleave(torch.arange(len(index), device=index.device), count)
        before = torch.cumsum(count, 0) - count
        place = torch.arange(len(owner), device=index.device) - before[owner] + start[owner]
        return Batch(
            index, self.entity[index], self.relation[index], count, owner, self.target[place]
        )

    def share(self, index: Tensor, rank: int, processes: int) -> Batch:
        """One process' part of the batch ``index`` [B]: every so manieth query from its own on.

        A process that gets none, since the batch is smaller, takes the first with a share of 0: it
        then draws what the others draw, and adds nothing.
        """
        if processes == 1:
            return self.batch(index)
        mine = index[rank::processes]
        part = self.batch(mine if len(mine) else index[:1])
        triples = (self.offsets[index + 1] - self.offsets[index]).sum()
        share = len(mine) / len(index)
        return replace(
            part, of_queries=share, of_triples=bool(len(mine)) * len(part.target) / triples
        )
