"""Plain arrays with ids: read, refused, and scored as their formula says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mulde.errors import CheckpointError, ConfigError
from training.importing.arrays import read_arrays


def folder(path: Path, entities: int = 4, dimension: int = 4, relations: int = 2) -> Path:
    draw = np.random.default_rng(0)
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / "entities.npy", draw.normal(size=(entities, dimension)))
    np.save(path / "relations.npy", draw.normal(size=(relations, dimension)))
    (path / "entity_ids.txt").write_text("".join(f"e{i}\n" for i in range(entities)))
    (path / "relation_ids.txt").write_text("".join(f"r{i}\n" for i in range(relations)))
    return path


def test_relations_without_inverses_get_those_of_the_scorer(tmp_path: Path) -> None:
    model = read_arrays(folder(tmp_path), "TransE")
    forward, inverse = model.relation["relation"].chunk(2)
    assert (forward == -inverse).all()


def test_the_ids_stand_in_the_order_of_the_rows(tmp_path: Path) -> None:
    model = read_arrays(folder(tmp_path), "DistMult")
    assert list(model.entity_ids) == ["e0", "e1", "e2", "e3"]
    wanted = np.load(tmp_path / "entities.npy").astype(np.float32)
    np.testing.assert_array_equal(model.entity["entity"].numpy(), wanted)


def test_as_many_rows_as_ids_are_expected(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "entity_ids.txt").write_text("e0\n")
    with pytest.raises(CheckpointError, match=r"in 1 rows, as many as ids, found \(4, 4\)"):
        read_arrays(tmp_path, "ComplEx")


def test_numbers_must_be_finite(tmp_path: Path) -> None:
    folder(tmp_path)
    np.save(tmp_path / "entities.npy", np.full((4, 4), np.nan))
    with pytest.raises(CheckpointError, match="finite"):
        read_arrays(tmp_path, "ComplEx")


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    np.save(tmp_path / "entities.npy", np.array([{"a": 1}] * 4), allow_pickle=True)
    with pytest.raises(CheckpointError, match="expected an array of numbers"):
        read_arrays(tmp_path, "ComplEx")


def test_an_unknown_scorer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TransE, RotatE, DistMult, ComplEx, RESCAL"):
        read_arrays(folder(tmp_path), "ConvE")
