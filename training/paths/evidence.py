"""What paths say about the training queries, found once and kept in a file.

``evidence.npz`` holds compressed rows, one per distinct query in the order of ``QuerySet``:
``offsets`` int64 [Q + 1], ``entities`` int32 and ``values`` float32, and as JSON what decided them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from mulde.errors import CheckpointError
from mulde.graph.graph import Graph
from mulde.storage.atomic import new_file
from training.checkpoint import writing
from training.distillation.queries import QuerySet
from training.paths.mine import mine
from training.paths.walks import Walks
from training.recipe import Paths, decisive

Report = Callable[[int, int], None]
"""Called with the directions done and all of them."""

_CHUNK = 1000


@dataclass(frozen=True)
class Evidence:
    """``weight max(0, l + offset)`` for the candidates that paths reach, 0 for all others.

    Attributes:
        offsets: [Q + 1], where each query's candidates begin.
        entities, values: of all queries, one after the other.
    """

    offsets: Tensor
    entities: Tensor
    values: Tensor

    def dense(self, index: Tensor, entities: int) -> Tensor:
        """Evidence [B, E] of the queries ``index`` [B]."""
        count = self.offsets[index + 1] - self.offsets[index]
        owner = torch.repeat_interleave(torch.arange(len(index), device=index.device), count)
        before = torch.cumsum(count, 0) - count
        place = torch.arange(len(owner), device=index.device)
        place = place - before[owner] + self.offsets[index][owner]
        found = torch.zeros(len(index), entities, device=index.device)
        found[owner, self.entities[place].long()] = self.values[place]
        return found

    def to(self, device: torch.device) -> Evidence:
        """The same on another device."""
        return Evidence(*(part.to(device) for part in (self.offsets, self.entities, self.values)))


def find_evidence(graph: Graph, settings: Paths, seed: int, report: Report) -> Evidence:
    """Mine the paths of every direction of train, and ask them about every training query."""
    walks = Walks(graph.train, graph.num_entities, graph.num_relations)
    queries = QuerySet.of(graph.train, graph.num_relations, graph.num_entities)
    entity, relation = queries.entity.numpy(), queries.relation.numpy()
    directions = 2 * graph.num_relations
    found = []
    for direction in range(directions):
        rules = mine(walks, direction, settings, seed)
        mine_ = entity[relation == direction]
        for part in np.array_split(mine_, -(-len(mine_) // _CHUNK)):
            found.append(_positive(rules.logits(walks, part), settings))
        report(direction + 1, directions)
    lengths = np.concatenate([np.diff(part.indptr) for part in found])
    return Evidence(
        torch.from_numpy(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])),
        torch.from_numpy(np.concatenate([part.indices for part in found]).astype(np.int32)),
        torch.from_numpy(np.concatenate([part.data for part in found])),
    )


def _positive(logits: csr_array, settings: Paths) -> csr_array:
    logits.data = np.maximum(logits.data + settings.offset, 0) * np.float32(settings.weight)
    logits.eliminate_zeros()
    return logits


def evidence_of(
    folder: Path, graph: Graph, settings: Paths, report: Report = lambda done, total: None
) -> Evidence:
    """The evidence kept in a folder, found first where there is none.

    Raises:
        CheckpointError: if the file is damaged, belongs to another graph or other settings, or
            cannot be written.
    """
    path = folder / "evidence.npz"
    facts: dict[str, Any] = {"graph": graph.digest, "paths": decisive(settings)}
    if path.exists():
        return _read(path, facts)
    found = find_evidence(graph, settings, 0, report)
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(path) as draft, draft.open("wb") as file:
            np.savez(
                file,
                facts=np.array(json.dumps(facts)),
                offsets=found.offsets.numpy(),
                entities=found.entities.numpy(),
                values=found.values.numpy(),
            )
    return found


def _read(path: Path, facts: dict[str, Any]) -> Evidence:
    try:
        # Given a name, numpy leaves the file of a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            theirs = json.loads(str(kept["facts"]))
            parts = [torch.from_numpy(kept[name]) for name in ("offsets", "entities", "values")]
    except Exception as error:
        raise CheckpointError(path, f"cannot be read: {error}") from error
    if theirs != facts:
        raise CheckpointError(path, f"expected evidence of {facts}, found {theirs}")
    return Evidence(*parts)
