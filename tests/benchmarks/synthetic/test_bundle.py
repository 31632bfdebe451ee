"""Bundles of made-up graphs: the file that FAISS would write, and answers that fit the facts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic.bundle import write_synthetic_bundle
from benchmarks.synthetic.graph import SyntheticGraph
from benchmarks.synthetic.quantise import stream_table
from mulde.bundle import files
from mulde.bundle.bundle import open_bundle
from mulde.bundle.table.entity_table import PRECISIONS, Layout, Precision
from mulde.errors import BundleError
from serving.engine.engine import Engine
from training.export.table.entity_table import write_table

GRAPH = SyntheticGraph(3000, relations=4, facts_per_entity=3, seed=2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "bundle"
    write_synthetic_bundle(GRAPH, folder, search=True)
    return folder


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_table_written_in_chunks_is_the_file_that_faiss_writes(
    precision: Precision, tmp_path: Path
) -> None:
    numbers = np.random.default_rng(0).normal(size=(3, 50, 8))
    table = Layout(8).pack(numbers[0], numbers[1, :, 0], numbers[2, :, 0], precision)
    write_table(tmp_path / "whole", table, precision)
    stream_table(tmp_path / "chunks", np.array_split(table, 7), 50, 16, precision)
    assert (tmp_path / "chunks").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(("entities", "width"), [(51, 16), (49, 16), (50, 24)])
def test_chunks_of_another_size_are_refused(entities: int, width: int, tmp_path: Path) -> None:
    table = np.zeros((50, 16), dtype=np.float32)
    with pytest.raises(ValueError, match="expected"):
        stream_table(tmp_path / "chunks", [table], entities, width, "fp16")


def test_a_table_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere/table"):
        stream_table(tmp_path / "nowhere" / "table", [], 0, 16, "fp16")


def test_the_bundle_opens_with_names_facts_and_search(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.vocabulary.entities.ids[2999] == "Q2999"
    assert opened.vocabulary.entities.row("Q0007") == 7
    assert opened.known is not None
    facts = GRAPH.all_facts()
    assert opened.known.contains(*facts.T).all()
    assert len(opened.known) == 2 * len(np.unique(facts, axis=0))
    assert opened.search is not None
    assert opened.search.find("q0123", 1) == [123]


def test_true_tails_rank_far_better_than_chance_in_both_directions(bundle: Path) -> None:
    head, relation, tail = GRAPH.all_facts()[:400].astype(np.int64).T
    with Engine.open(bundle) as engine:
        tails = engine.ranks(head, relation, tail)
        heads = engine.ranks(tail, relation + GRAPH.relations, head)
    # Of 3,000 entities: a cluster has some 90, and its facts go to the popular ones.
    assert np.median(tails) < 60
    assert np.median(heads) < 150


def test_the_same_graph_gives_the_same_files(bundle: Path, tmp_path: Path) -> None:
    write_synthetic_bundle(GRAPH, tmp_path / "again", search=True)
    for name in (files.ENTITIES, files.ENCODER, files.VOCABULARY, files.KNOWN, files.SEARCH):
        assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes(), name
