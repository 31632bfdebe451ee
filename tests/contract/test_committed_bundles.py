"""The bundles in models/ do what their manifests say, through the real server."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.files import KNOWN
from mulde.client import Client
from mulde.evaluation.ranking import summarise
from mulde.graph.graph import Graph, read_folder
from tests.support.server import server

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent for path in (ROOT / "models").glob("*/manifest.json"))
BENCHMARKS = {"wn18rr", "fb15k-237", "codex-s", "umls", "nations"}
BATCH = 256


def graph_of(bundle: Path) -> Graph:
    """The graph that a bundle was trained on; skips with a reason where it is not here."""
    name = open_bundle(bundle).manifest.dataset.name
    folder = Path(os.environ.get("MULDE_DATA", "")) / name
    if not os.environ.get("MULDE_DATA") or not folder.is_dir():
        pytest.skip(f"needs the graph {name}: set MULDE_DATA to the folder that holds it")
    return read_folder(folder)


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_a_committed_bundle_carries_no_facts_of_a_benchmark(bundle: Path) -> None:
    opened = open_bundle(bundle)
    if opened.manifest.dataset.name in BENCHMARKS:
        assert opened.known is None


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_mrr_through_the_server_equals_the_trainers(bundle: Path, tmp_path: Path) -> None:
    graph, opened = graph_of(bundle), open_bundle(bundle)
    facts = tmp_path / KNOWN
    KnownFacts.build(graph.all_triples, graph.num_entities, graph.num_relations).write(facts)
    files = {name: opened.file(name) for name in opened.manifest.files}
    whole = tmp_path / bundle.name
    write_bundle(whole, opened.manifest, {**files, KNOWN: facts})
    heads, relations, tails = (_names(graph, column) for column in range(3))
    ranks = []
    with (
        server(whole, log=tmp_path / "log") as running,
        Client(running.address, timeout_s=120) as client,
    ):
        for start in range(0, len(heads), BATCH):
            part = slice(start, start + BATCH)
            scores = client.score(heads[part], relations[part], tails[part], ranks=True)
            assert not scores.errors
            ranks.append((scores.tail_ranks, scores.head_ranks))
    tail_ranks, head_ranks = (np.concatenate(side) for side in zip(*ranks, strict=True))
    served = summarise(tail_ranks, head_ranks)
    trained = opened.manifest.scorer_quality["test"]
    for direction in ("tail", "head", "total"):
        assert served[direction] == pytest.approx(trained[direction], abs=5e-5)


def _names(graph: Graph, column: int) -> list[str]:
    """Ids of one column of the test split."""
    ids = graph.relation_ids if column == 1 else graph.entity_ids
    return [ids[row] for row in graph.test[:, column]]
