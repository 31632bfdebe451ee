"""Models of DGL-KE, from the folder that ``dglke_train`` wrote.

    FOLDER/config.json                       model_name and dataset
    FOLDER/DATASET_MODEL_entity.npy          [E, D]; complex numbers: real parts, imaginary parts
    FOLDER/DATASET_MODEL_relation.npy        [R, D]; RESCAL: [R, D * D]
    entities.tsv, relations.tsv              number<TAB>id, in FOLDER or where --ids says

Its RotatE sums the moduli of complex differences, which no inner product ranks alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mulde.errors import CheckpointError
from training.importing.arrays import model_of
from training.importing.foreign import ForeignModel
from training.importing.id_files import read_ids

_SCORERS = {
    "TransE": "TransE",
    "TransE_l2": "TransE",
    "DistMult": "DistMult",
    "ComplEx": "ComplEx",
    "RESCAL": "RESCAL",
}
_ENTITIES = ("entities.tsv", "entities.dict")
_RELATIONS = ("relations.tsv", "relations.dict")


def read_dglke(folder: Path, ids: Path | None = None) -> ForeignModel:
    """Read a saved DGL-KE model.

    Args:
        folder: with config.json and the arrays.
        ids: folder with entities.tsv and relations.tsv; None: the same.

    Raises:
        CheckpointError: if a file is missing or damaged, or no inner product ranks as the model.
    """
    config = _config(folder / "config.json")
    name = str(config.get("model_name"))
    if name not in _SCORERS:
        raise CheckpointError(folder, f"expected a model of {', '.join(_SCORERS)}, found {name}")
    prefix = f"{config.get('dataset')}_{name}"
    entity = _array(folder / f"{prefix}_entity.npy")
    relation = _array(folder / f"{prefix}_relation.npy")
    scorer, size = _SCORERS[name], entity.shape[1]
    wanted = size**2 if scorer == "RESCAL" else size
    if relation.shape[1] != wanted:
        problem = f"expected {wanted} numbers for each relation, found {relation.shape[1]}"
        raise CheckpointError(folder / f"{prefix}_relation.npy", problem)
    if scorer == "RESCAL":
        relation = relation.reshape(-1, size, size)
    where = ids or folder
    names = (
        read_ids(where, _ENTITIES, len(entity)),
        read_ids(where, _RELATIONS, len(relation)),
    )
    return model_of(scorer, entity, relation, names, f"DGL-KE {name}")


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"expected DGL-KE's settings, found: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(path, "expected DGL-KE's settings, found no object")
    return found


def _array(path: Path) -> Tensor:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(path, f"expected an array of numbers, found: {error}") from error
    if found.ndim != 2 or found.dtype.kind != "f" or not np.isfinite(found).all():
        problem = f"expected finite numbers in rows, found {found.dtype} {found.shape}"
        raise CheckpointError(path, problem)
    return torch.from_numpy(found.astype(np.float32))
