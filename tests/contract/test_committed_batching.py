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
from mulde.client import Answers, Client, Connection
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.ranking import summarise
from mulde.evaluation.self_loops import lower
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
    equal; its own score comes from ScoreTriples. By the scorer alone, with known facts marked.
    """
    graph = graph_of(bundle)
    whole = with_facts(bundle, graph, tmp_path / bundle.name)
    chosen = np.random.default_rng(7).choice(len(graph.test), SAMPLE, replace=False)
    triples = graph.test[np.sort(chosen)].astype(np.int64)
    # Nothing is refused: the callers wait for each other.
    patient = {"MULDE_SERVER__MAX_WAIT_MS": "60000"}
    with server(whole, *FLAGS, log=tmp_path / "log", env=patient) as process:
        found = served_ranks(process, graph, triples)
        runs = process.metric("mulde_batch_queries_count")
        assert process.metric("mulde_batch_queries_sum") > 1.2 * runs  # batches did form
        assert len(process.children()) == WORKERS
    expected = offline_ranks(whole, graph, triples)
    far = np.isnan(found)  # 1,000 answers are better, known ones among them
    assert far.mean() < 0.5
    assert (expected[far] > 1).all()
    found[far] = expected[far]
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
                tails = client.predict_tails(*names[:2], k=K, exclude_known=False, view="row")
                heads = client.predict_heads(*names[1:], k=K, exclude_known=False, view="row")
                found[place] = rank(own.tail_scores[0], tails)
                found[len(triples) + place] = rank(own.head_scores[0], heads)

    with ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(ask, caller) for caller in range(CALLERS)]:
            done.result()
    return found


def rank(own: float, answers: Answers) -> float:
    """Filtered rank of a target of some score beside unknown answers; NaN if all are better."""
    if len(answers.scores) == K and answers.scores[-1] >= own:
        return np.nan
    assert answers.known is not None
    others = answers.scores[~answers.known]
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
        loopless = engine.manifest.loopless

        def scores(entities: Rows, asked: Rows) -> Float64:
            found = engine.scores(entities, asked, use_priors=False)
            lower(found, entities, asked, loopless)  # PredictTails leaves self-loops out
            return found

        return task.ranks(scores, batch=64)
