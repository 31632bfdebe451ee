"""Models of LibKGE: a checkpoint of ``kge start`` or a file of ``kge package``, read as data.

A packaged model has its ids; a checkpoint takes them from entity_ids.del and relation_ids.del of
the dataset. LibKGE puts real parts before imaginary ones, as we do, and its reciprocal relations
after the forward ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mulde.errors import CheckpointError
from training.importing.arrays import model_of
from training.importing.foreign import ForeignModel
from training.importing.id_files import read_ids
from training.importing.torch_archive import PickledCall, read_archive

_RECIPROCAL = "reciprocal_relations_model"
_SCORERS = {
    "complex": "ComplEx",
    "distmult": "DistMult",
    "rescal": "RESCAL",
    "rotate": "RotatE",
    "transe": "TransE",
}


def read_libkge(path: Path, ids: Path | None = None) -> ForeignModel:
    """Read a LibKGE checkpoint.

    Args:
        path: the file.
        ids: folder with entity_ids.del and relation_ids.del; None: the file's own, or its folder.

    Raises:
        CheckpointError: if it is no checkpoint of LibKGE, or no inner product ranks as the model.
    """
    state = read_archive(path)
    config = state.get("config") if isinstance(state, dict) else None
    if not isinstance(config, PickledCall) or config.name != "kge.config.Config":
        raise CheckpointError(path, "expected a checkpoint of LibKGE, found none")
    options: dict[str, Any] = config.state["options"]
    name, own = _model(options)
    if name not in _SCORERS:
        raise CheckpointError(path, f"expected a model of {', '.join(_SCORERS)}, found {name}")
    norm = float(own.get("l_norm", 2.0))
    if name in ("transe", "rotate") and norm != 2.0:
        problem = f"expected {name} with l_norm 2, found {norm:g}: no inner product ranks alike"
        raise CheckpointError(path, problem)
    weights = _weights(path, state["model"])
    entity, relation = (_table(path, weights, part) for part in ("entity", "relation"))
    names = _ids(state, ids or path.parent, len(entity))
    if name in _SHAPES:
        relation = _SHAPES[name](relation, entity)
    return model_of(_SCORERS[name], entity, relation, names, f"LibKGE {name}")


def _model(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the model that scores, and its options."""
    name, base = str(options.get("model")), {}
    if name == _RECIPROCAL:
        base = options[_RECIPROCAL]["base_model"]
        name = str(base["type"])
    return name, {**options.get(name, {}), **base}


def _weights(path: Path, saved: Any) -> dict[str, Tensor]:
    state = saved[0] if isinstance(saved, tuple) and saved else None
    items = state.items if isinstance(state, PickledCall) else state
    if not isinstance(items, dict):
        raise CheckpointError(path, "expected the tensors of a LibKGE model, found none")
    return {key: value for key, value in items.items() if isinstance(value, Tensor)}


def _table(path: Path, weights: dict[str, Tensor], part: str) -> Tensor:
    found = weights.get(f"_{part}_embedder._embeddings.weight")
    if found is None:
        raise CheckpointError(path, f"expected a lookup_embedder for each {part}, found another")
    return found.float()


def _ids(state: dict[str, Any], folder: Path, entities: int) -> tuple[list[str], list[str]]:
    meta = state.get("dataset", {}).get("meta", {})
    if meta.get("entity_ids") and meta.get("relation_ids"):
        return list(map(str, meta["entity_ids"])), list(map(str, meta["relation_ids"]))
    options = state["config"].state["options"]
    relations = int(options["dataset"]["num_relations"])
    return (
        read_ids(folder, ("entity_ids.del",), entities),
        read_ids(folder, ("relation_ids.del",), relations),
    )


def _rotations(phases: Tensor, entity: Tensor) -> Tensor:
    return torch.cat([phases.cos(), phases.sin()], -1)


def _matrices(flat: Tensor, entity: Tensor) -> Tensor:
    return flat.reshape(-1, entity.shape[1], entity.shape[1])


_SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rescal": _matrices,
    "rotate": _rotations,
}
