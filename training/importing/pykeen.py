"""Models of PyKEEN, from the folder that ``PipelineResult.save_to_directory`` wrote.

    FOLDER/trained_model.pkl                  the whole model, read as data (``torch_archive``)
    FOLDER/training_triples/*_to_id.tsv.gz    ids of entities and relations

PyKEEN stores complex numbers and quaternions number by number; ours are part by part. Checked with
PyKEEN 1.11.1, which puts inverse relations after the forward ones.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mulde.errors import CheckpointError
from training.importing.foreign import ForeignModel
from training.importing.torch_archive import PickledCall, read_archive, tensors_of

Tensors = dict[str, Tensor]
_ENTITY, _RELATION = "entity_representations", "relation_representations"


def read_pykeen(folder: Path) -> ForeignModel:
    """Read a saved PyKEEN model.

    Raises:
        CheckpointError: if a file is missing or damaged, or the model is of another class.
    """
    path = folder / "trained_model.pkl"
    model = read_archive(path)
    name = model.name.rpartition(".")[2] if isinstance(model, PickledCall) else type(model).__name__
    if name not in _FAMILIES:
        expected = f"expected a PyKEEN model of {', '.join(sorted(_FAMILIES))}, found {name}"
        raise CheckpointError(path, expected)
    tensors = {
        key.removesuffix("._embeddings.weight"): value
        for key, value in tensors_of(model)
        if key.endswith("._embeddings.weight")
    }
    _check_norm(path, name, model)
    entity_ids = _ids(folder / "training_triples" / "entity_to_id.tsv.gz")
    relation_ids = _ids(folder / "training_triples" / "relation_to_id.tsv.gz")
    scorer, dimension, entity, relation = _FAMILIES[name](tensors, len(relation_ids))
    return ForeignModel(
        scorer, dimension, entity_ids, relation_ids, entity, relation, f"PyKEEN {name}"
    )


def _check_norm(path: Path, name: str, model: PickledCall) -> None:
    """Refuse distances other than the Euclidean: no inner product gives their ranking."""
    interaction: Any = dict(_modules(model)).get("interaction")
    p = interaction.state.get("p", 2) if isinstance(interaction, PickledCall) else 2
    if name in ("TransE", "MuRE") and p != 2:
        problem = f"expected {name} with the Euclidean norm (p = 2), found p = {p}"
        raise CheckpointError(path, problem)
    squared = interaction.state.get("power_norm") if isinstance(interaction, PickledCall) else True
    if name == "MuRE" and not squared:
        raise CheckpointError(path, "expected MuRE with power_norm = True, found False")


def _modules(model: PickledCall) -> dict[str, Any]:
    found = model.state.get("_modules")
    return dict(found.items if isinstance(found, PickledCall) else found)


def _ids(path: Path) -> list[str]:
    """Ids in the order of their rows, from a table ``id<TAB>label`` with a header."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file][1:]
        order = sorted((int(number), label) for number, label in rows)
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"expected a table of id and label, found: {error}") from error
    return [label for _, label in order]


def _both(relation: Tensor, inverse: Tensor, relations: int) -> Tensor:
    """[2R, ...]: the model's own inverses where it has them, else those that follow."""
    return relation if len(relation) == 2 * relations else torch.cat([relation, inverse])


def _parts(value: Tensor, count: int) -> Tensor:
    """[n, D] with ``count`` numbers side by side -> part by part."""
    return torch.flatten(value.unflatten(-1, (-1, count)).transpose(-1, -2), -2)


def _distance(entity: Tensor) -> Tensors:
    return {"entity": entity, "tail_bias": -entity.square().sum(-1)}


def _transe(tensors: Tensors, relations: int) -> tuple[str, int, Tensors, Tensors]:
    entity, relation = tensors[f"{_ENTITY}.0"], tensors[f"{_RELATION}.0"]
    both = _both(relation, -relation, relations)
    return "TransE", entity.shape[1], _distance(entity), {"relation": both}


def _rotate(tensors: Tensors, relations: int) -> tuple[str, int, Tensors, Tensors]:
    entity, relation = (_parts(tensors[f"{key}.0"], 2) for key in (_ENTITY, _RELATION))
    both = _both(relation, _conjugate(relation, 2), relations)
    return "RotatE", entity.shape[1], _distance(entity), {"relation": both}


def _complex(tensors: Tensors, relations: int) -> tuple[str, int, Tensors, Tensors]:
    entity, relation = (_parts(tensors[f"{key}.0"], 2) for key in (_ENTITY, _RELATION))
    both = _both(relation, _conjugate(relation, 2), relations)
    return "ComplEx", entity.shape[1], {"entity": entity}, {"relation": both}


def _quate(tensors: Tensors, relations: int) -> tuple[str, int, Tensors, Tensors]:
    entity, relation = (_parts(tensors[f"{key}.0"], 4) for key in (_ENTITY, _RELATION))
    relation = -relation  # PyKEEN's score is the negative product
    both = _both(relation, _conjugate(relation, 4), relations)
    return "QuatE", entity.shape[1], {"entity": entity}, {"relation": both}


def _conjugate(value: Tensor, count: int) -> Tensor:
    """The first of ``count`` parts as it is, the others negated."""
    first, *others = value.chunk(count, -1)
    return torch.cat([first, *(-part for part in others)], -1)


def _distmult(tensors: Tensors, relations: int) -> tuple[str, int, Tensors, Tensors]:
    entity, relation = tensors[f"{_ENTITY}.0"], tensors[f"{_RELATION}.0"]
    both = _both(relation, relation, relations)
    return "DistMult", entity.shape[1], {"entity": entity}, {"relation": both}


def _rescal(tensors: Tensors, relations: int) -> tuple[str, int, Tensors, Tensors]:
    entity, flat = tensors[f"{_ENTITY}.0"], tensors[f"{_RELATION}.0"]
    size = entity.shape[1]
    matrix = flat.reshape(len(flat), size, size)
    both = _both(matrix, matrix.transpose(1, 2), relations)
    table = {"entity": entity, "tail_bias": torch.zeros(len(entity))}
    return "RESCAL", size, table, {"matrix": both, "translation": torch.zeros(len(both), size)}


def _mure(tensors: Tensors, relations: int) -> tuple[str, int, Tensors, Tensors]:
    entity, head, tail = (tensors[f"{_ENTITY}.{place}"] for place in range(3))
    squares, difference = entity.square(), head - tail
    table = torch.cat([entity, squares, difference, tail], -1)
    bias = tail[:, 0] - squares.sum(-1)
    if len(tensors[f"{_RELATION}.0"]) != relations:
        raise ValueError("MuRE with inverse triples")
    relation = {"translation": tensors[f"{_RELATION}.0"], "diagonal": tensors[f"{_RELATION}.1"]}
    return "MuRE", table.shape[1], {"entity": table, "tail_bias": bias}, relation


_FAMILIES: dict[str, Callable[[Tensors, int], tuple[str, int, Tensors, Tensors]]] = {
    "ComplEx": _complex,
    "DistMult": _distmult,
    "MuRE": _mure,
    "QuatE": _quate,
    "RESCAL": _rescal,
    "RotatE": _rotate,
    "TransE": _transe,
}
