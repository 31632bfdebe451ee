"""Models that LibKGE saved, against the scores that it gave (scripts/foreign_models/libkge.py)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mulde.errors import CheckpointError
from mulde.graph.graph import Graph
from training.importing.foreign import convert
from training.importing.libkge import read_libkge
from training.importing.read import read_foreign

MODELS = Path(__file__).parents[2] / "golden" / "libkge"
DISTANCES = ("transe", "rotate")


@pytest.mark.parametrize(
    "name", ["complex", "distmult", "rescal", "transe", "rotate", "complex-reciprocal"]
)
def test_an_imported_model_scores_both_directions_as_libkge_does(name: str, graph: Graph) -> None:
    folder = MODELS / name
    source = folder if name == "complex-reciprocal" else folder / "model.pt"
    foreign = read_foreign(source, ids=folder)
    scorer = convert(foreign, graph, source)
    kept = np.load(folder / "scores.npz")
    head, relation, tail = torch.from_numpy(kept["triples"]).T
    place = torch.arange(len(head))
    tails = scorer.score_pairs(scorer.query(head, relation), place, tail).numpy()
    heads = scorer.score_pairs(scorer.query(tail, relation + 3), place, head).numpy()
    for found, wanted in ((tails, kept["scores"]), (heads, kept["head_scores"])):
        wanted = -np.square(wanted) if name in DISTANCES else wanted
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_norm_that_no_inner_product_ranks_by_is_refused() -> None:
    with pytest.raises(CheckpointError, match="transe with l_norm 2, found 1"):
        read_libkge(MODELS / "transe-l1" / "model.pt")


def test_a_checkpoint_without_ids_says_where_they_are_looked_for(tmp_path: Path) -> None:
    shutil.copy(MODELS / "complex-reciprocal" / "checkpoint_best.pt", tmp_path)
    with pytest.raises(CheckpointError, match=r"entity_ids\.del .* --ids names the folder"):
        read_libkge(tmp_path / "checkpoint_best.pt")
    (tmp_path / "entity_ids.del").write_text("0\te00\n")
    with pytest.raises(CheckpointError, match=r"the numbers 0 to 11, .* found 1 lines"):
        read_libkge(tmp_path / "checkpoint_best.pt")


def test_another_torch_file_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="expected a checkpoint of LibKGE"):
        read_foreign(tmp_path / "model.pt")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(CheckpointError, match="a pickle can run code when it is opened"):
        read_foreign(tmp_path / "model.pkl")


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_of_no_model_says_what_is_expected(tmp_path: Path, there: bool) -> None:
    source = tmp_path if there else tmp_path / "nowhere"
    with pytest.raises(CheckpointError, match=r"PyKEEN.*DGL-KE.*LibKGE.*found no"):
        read_foreign(source)
