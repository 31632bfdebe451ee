"""Plain arrays with ids: the format for models of any other package.

    FOLDER/entities.npy       float [E, D], or entities.parquet with one column per number
    FOLDER/relations.npy      float [R, D], [R, D, D] for RESCAL; 2R rows bring own inverses
    FOLDER/entity_ids.txt     one id a line, in the order of the rows
    FOLDER/relation_ids.txt   likewise

Complex numbers are stored as all real parts, then all imaginary parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mulde.errors import CheckpointError, ConfigError
from training.importing.foreign import ForeignModel

SCORERS = ("TransE", "RotatE", "DistMult", "ComplEx", "RESCAL")


def read_arrays(folder: Path, scorer: str) -> ForeignModel:
    """Read entity and relation arrays.

    Args:
        folder: with the four files.
        scorer: what the numbers mean, one of ``SCORERS``.

    Raises:
        ConfigError: if the scorer is none of ``SCORERS``.
        CheckpointError: if a file is missing or shapes do not fit.
    """
    if scorer not in SCORERS:
        raise ConfigError("--scorer", f"one of {', '.join(SCORERS)}", scorer)
    entity_ids, relation_ids = (_lines(folder / f"{n}_ids.txt") for n in ("entity", "relation"))
    entity = _matrix(folder, "entities", len(entity_ids))
    relation = _matrix(folder, "relations", len(relation_ids))
    origin = f"arrays of {scorer}"
    return model_of(scorer, entity, relation, (entity_ids, relation_ids), origin)


def model_of(
    scorer: str,
    entity: Tensor,
    relation: Tensor,
    ids: tuple[Sequence[str], Sequence[str]],
    origin: str,
) -> ForeignModel:
    """Return a model of plain tensors.

    Args:
        scorer: one of ``SCORERS``.
        entity: [E, D].
        relation: [R, D], [R, D, D] for RESCAL; [2R, ...] brings its own inverses.
        ids: of the entities and of the R relations, in the order of the rows.
        origin: package and class.
    """
    both = relation
    if len(relation) == len(ids[1]):
        both = torch.cat([relation, _inverse(scorer, relation)])
    table = {"entity": entity}
    if scorer in ("TransE", "RotatE"):
        table["tail_bias"] = -entity.square().sum(-1)
    relations = {"relation": both}
    if scorer == "RESCAL":
        table["tail_bias"] = torch.zeros(len(entity))
        relations = {"matrix": both, "translation": torch.zeros(len(both), entity.shape[1])}
    return ForeignModel(scorer, entity.shape[1], *ids, table, relations, origin)


def _inverse(scorer: str, relation: Tensor) -> Tensor:
    """Relations of the other direction, which follow from the score."""
    if scorer == "TransE":
        return -relation
    if scorer == "RESCAL":
        return relation.transpose(1, 2)
    if scorer == "DistMult":
        return relation
    real, imaginary = relation.chunk(2, -1)
    return torch.cat([real, -imaginary], -1)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(path, f"expected one id a line in UTF-8, found: {error}") from error


def _matrix(folder: Path, name: str, ids: int) -> Tensor:
    """[n, ...] of finite numbers, n = ids (2 ids for relations with inverses)."""
    path = folder / f"{name}.npy"
    try:
        array = _parquet(folder / f"{name}.parquet") if not path.exists() else _load(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"expected an array of numbers, found: {error}") from error
    allowed = (ids,) if name == "entities" else (ids, 2 * ids)
    if array.ndim not in (2, 3) or len(array) not in allowed or not np.isfinite(array).all():
        expected = " or ".join(map(str, allowed))
        problem = f"expected finite numbers in {expected} rows, as many as ids, found {array.shape}"
        raise CheckpointError(path, problem)
    return torch.from_numpy(array.astype(np.float32))


def _load(path: Path) -> np.ndarray:
    found: np.ndarray = np.load(path, allow_pickle=False)  # an array of objects is a pickle
    return found


def _parquet(path: Path) -> np.ndarray:
    from pyarrow import parquet

    table = parquet.read_table(path)
    return np.stack([column.to_numpy() for column in table.columns], axis=1)
