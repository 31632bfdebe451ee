"""Models that DGL-KE's code saved, against its scores (scripts/foreign_models/dglke.py)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mulde.errors import CheckpointError
from mulde.graph.graph import Graph
from training.importing.dglke import read_dglke
from training.importing.foreign import convert
from training.importing.read import read_foreign

MODELS = Path(__file__).parents[2] / "golden" / "dglke"
GAMMA = 12.0


@pytest.mark.parametrize("name", ["TransE_l2", "DistMult", "ComplEx", "RESCAL"])
def test_an_imported_model_scores_as_dglke_does(name: str, graph: Graph) -> None:
    scorer = convert(read_foreign(MODELS / name), graph, MODELS / name)
    kept = np.load(MODELS / name / "scores.npz")
    head, relation, tail = torch.from_numpy(kept["triples"]).T
    place = torch.arange(len(head))
    found = scorer.score_pairs(scorer.query(head, relation), place, tail).numpy()
    backward = scorer.score_pairs(scorer.query(tail, relation + 3), place, head).numpy()
    distance = np.square(GAMMA - kept["scores"])
    wanted = -distance if name == "TransE_l2" else kept["scores"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(backward, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["TransE_l1", "RotatE"])
def test_a_model_that_no_inner_product_ranks_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"found {name}"):
        read_dglke(MODELS / name)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(MODELS / "RESCAL", tmp_path / "model")
    return tmp_path / "model"


def test_ids_may_lie_in_another_folder(copy: Path, tmp_path: Path) -> None:
    ids = tmp_path / "data"
    ids.mkdir()
    for name in ("entities", "relations"):
        (copy / f"{name}.tsv").rename(ids / f"{name}.dict")
    with pytest.raises(CheckpointError, match=r"expected entities\.tsv or entities\.dict"):
        read_dglke(copy)
    assert list(read_dglke(copy, ids).relation_ids) == ["r0", "r1", "r2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "[]", "expected DGL-KE's settings"),
        ("config.json", "{", "expected DGL-KE's settings"),
        ("config.json", json.dumps({"model_name": "SimplE"}), "found SimplE"),
        ("toy_RESCAL_entity.npy", "", "expected an array of numbers"),
        ("entities.tsv", "e00\t0\n", "expected lines of number, tab, id"),
        ("entities.tsv", "0\te00\n", "the numbers 0 to 11"),
    ],
)
def test_a_damaged_file_is_named(copy: Path, name: str, content: str, said: str) -> None:
    (copy / name).write_text(content)
    with pytest.raises(CheckpointError, match=said):
        read_dglke(copy)


def test_an_array_of_another_width_is_refused(copy: Path) -> None:
    np.save(copy / "toy_RESCAL_relation.npy", np.zeros((3, 5), dtype=np.float32))
    with pytest.raises(CheckpointError, match="expected 16 numbers for each relation, found 5"):
        read_dglke(copy)
