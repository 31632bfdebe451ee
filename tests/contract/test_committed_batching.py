"""Single queries of many callers through two workers give a committed bundle's own MRR."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.bundle.files import KNOWN
from mulde.bundle.known_facts import KnownFacts
from mulde.client import Client, Connection
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.ranking import summarise
from mulde.graph.graph import Graph
from mulde.typing import Float64, Rows
from serving.engine.engine import Engine
from tests.contract.test_committed_bundles import BUNDLES, graph_of
from tests.support.server import ServerProcess, server

WORKERS, CALLERS, SAMPLE, K = 2, 16, 240, 1000
FLAGS = ("--workers", str(WORKERS))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_ranks_read_off_single_queries_that_are_batched_give_the_offline_mrr(
    bundle: Path, tmp_path: Path
) -> None:
    """A seeded sample of the test split: tails by PredictTails, heads by PredictHeads.

    A target's filtered rank is 1 + how many unknown answers are better, and half of those that are
    equal; its own score, and its rank where 1,000 are better, come from ScoreTriples.
    """
    graph = graph_of(bundle)
    whole = with_facts(bundle, graph, tmp_path / bundle.name)
    chosen = np.random.default_rng(7).choice(len(graph.test), SAMPLE, replace=False)
    triples = graph.test[np.sort(chosen)].astype(np.int64)
    with server(whole, *FLAGS, log=tmp_path / "log") as process:
        found = served_ranks(process, graph, triples)
        runs = process.metric("mulde_batch_queries_count")
        assert process.metric("mulde_batch_queries_sum") > 1.2 * runs  # batches did form
        assert len(process.children()) == WORKERS
    expected = offline_ranks(whole, graph, triples)
    assert np.array_equal(found, expected)
    served, trained = summarise(*np.split(found, 2)), summarise(*np.split(expected, 2))
    assert served == trained


def with_facts(bundle: Path, graph: Graph, target: Path) -> Path:
    """The bundle with the graph's facts, which the committed one may not carry."""
    opened = open_bundle(bundle)
    facts = target.with_suffix(".known")
    KnownFacts.build(graph.all_triples, graph.num_entities, graph.num_relations).write(facts)
    files = {name: opened.file(name) for name in opened.manifest.files}
    write_bundle(target, opened.manifest, {**files, KNOWN: facts})
    return target


def served_ranks(process: ServerProcess, graph: Graph, triples: Rows) -> Float64:
    """Filtered ranks of tails, then of heads, [2n], of triples [n, 3], asked one query a call."""
    ids, relations = graph.entity_ids, graph.relation_ids
    found = np.zeros(2 * len(triples))

    def ask(caller: int) -> None:
        connection = Connection(process.address, attempts=5)
        with Client(connection, timeout_s=300) as client:
            for place in range(caller, len(triples), CALLERS):
                head, relation, tail = triples[place]
                names = ids[head], relations[relation], ids[tail]
                own = client.score(*names)
                tails = client.predict_tails(*names[:2], k=K, view="row")
                heads = client.predict_heads(*names[1:], k=K, view="row")
                found[place] = rank(own.tail_scores[0], tails.scores)
                found[len(triples) + place] = rank(own.head_scores[0], heads.scores)
                if np.isnan(found[place :: len(triples)]).any():
                    own = client.score(*names, ranks=True)
                    assert own.tail_ranks is not None
                    assert own.head_ranks is not None
                    found[place :: len(triples)] = own.tail_ranks[0], own.head_ranks[0]

    with ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(ask, caller) for caller in range(CALLERS)]:
            done.result()
    return found


def rank(own: float, others: Float64) -> float:
    """Filtered rank of a target of some score beside unknown answers; NaN if all are better."""
    if len(others) == K and others[-1] >= own:
        return np.nan
    return float(1 + (others > own).sum() + (others == own).sum() / 2)


def offline_ranks(bundle: Path, graph: Graph, triples: Rows) -> Float64:
    """The same by the definition, from the scores of every entity."""
    heads, relations, tails = triples.T
    task = RankingTask(
        entity=np.concatenate([heads, tails]),
        relation=np.concatenate([relations, relations + graph.num_relations]),
        target=np.concatenate([tails, heads]),
        known=KnownFacts.build(graph.all_triples, graph.num_entities, graph.num_relations),
    )
    with Engine.open(bundle) as engine:
        return task.ranks(engine.scores, batch=64)
