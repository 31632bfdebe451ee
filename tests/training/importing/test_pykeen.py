"""Models that PyKEEN saved, against its own scores (scripts/foreign_models/pykeen.py)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mulde.errors import CheckpointError
from mulde.graph.graph import Graph, read_folder
from training.importing.foreign import convert, write_imported
from training.importing.pykeen import read_pykeen
from training.train import load_scorer

MODELS = Path(__file__).parents[2] / "golden" / "pykeen"
SQUARED = ("TransE", "RotatE")
"""Their scores are distances; ours are squared distances."""


@pytest.mark.parametrize(
    "name",
    ["TransE", "RotatE", "DistMult", "ComplEx", "ComplEx-inverse", "MuRE", "QuatE", "RESCAL"],
)
def test_an_imported_model_scores_tails_as_pykeen_does(name: str, graph: Graph) -> None:
    scorer = convert(read_pykeen(MODELS / name), graph, MODELS / name)
    kept = np.load(MODELS / name / "scores.npz")
    head, relation, tail = torch.from_numpy(kept["triples"]).T
    place = torch.arange(len(head))
    found = scorer.score_pairs(scorer.query(head, relation), place, tail).numpy()
    wanted = -np.square(kept["scores"]) if name in SQUARED else kept["scores"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["TransE", "RotatE", "DistMult", "ComplEx", "MuRE", "QuatE", "RESCAL"]
)
def test_the_reciprocal_direction_gives_the_same_score(name: str, graph: Graph) -> None:
    scorer = convert(read_pykeen(MODELS / name), graph, MODELS / name)
    head, relation, tail = torch.from_numpy(np.load(MODELS / name / "scores.npz")["triples"]).T
    place = torch.arange(len(head))
    forward = scorer.score_pairs(scorer.query(head, relation), place, tail)
    backward = scorer.score_pairs(scorer.query(tail, relation + 3), place, head)
    torch.testing.assert_close(forward, backward, rtol=1e-4, atol=1e-5)


def test_an_imported_model_opens_as_a_checkpoint(graph: Graph, tmp_path: Path) -> None:
    source = MODELS / "ComplEx"
    write_imported(read_pykeen(source), graph, source, tmp_path / "imported" / "best.pt")
    scorer, state = load_scorer(tmp_path / "imported" / "best.pt", graph)
    assert state["identity"]["training"] == {"imported": "PyKEEN ComplEx"}
    assert type(scorer).__name__ == "ComplEx"


def test_a_model_of_another_class_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="found TransD"):
        read_pykeen(MODELS / "TransD")


def test_an_entity_that_the_model_lacks_is_named(graph: Graph, tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text("e00\tr0\te01\ne02\tr1\tsomewhere\ne03\tr2\te04\n")
    with pytest.raises(CheckpointError, match="absent: somewhere"):
        convert(read_pykeen(MODELS / "TransE"), read_folder(folder), MODELS / "TransE")


def test_a_pickle_that_would_run_code_runs_none(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {tmp_path / 'ran'}",)

    folder = tmp_path / "model"
    shutil.copytree(MODELS / "TransE", folder)
    torch.save({"model": Hostile()}, folder / "trained_model.pkl")
    with pytest.raises(CheckpointError, match="expected a PyKEEN model"):
        read_pykeen(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "TransE", folder)
    (folder / "trained_model.pkl").write_bytes(damage)
    with pytest.raises(CheckpointError, match="expected a file of torch"):
        read_pykeen(folder)
