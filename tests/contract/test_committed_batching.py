"""Single queries of many callers through two workers give a committed bundle's own MRR."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import write_bundle
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.bundle.files import KNOWN
from mulde.client import Answers, Client, Connection
from mulde.errors import Overloaded
from mulde.evaluation.metrics import RankingTask
from mulde.evaluation.ranking import summarise
from mulde.graph.graph import Graph
from mulde.typing import Float64, Rows, Triples
from serving.engine.engine import Engine
from tests.contract.test_committed_bundles import BUNDLES, graph_of
from tests.support.server import ServerProcess, server

WORKERS, CALLERS, SAMPLE, K = 2, 16, 240, 1000
FLAGS = ("--workers", str(WORKERS))
T = TypeVar("T")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_ranks_read_off_single_queries_that_are_batched_give_the_offline_mrr(
    bundle: Path, tmp_path: Path
) -> None:
    """A seeded sample of the test split: tails by PredictTails, heads by PredictHeads.

    The server knows train and valid, so a test fact is a new fact, ranked by score and prior. Its
    filtered rank is 1 + how many answers are better that are no other test facts, and half of those
    that are equal. ScoreTriples gives ranks by the scorer alone, filtered by what the server knows.
    """
    graph = graph_of(bundle)
    known = np.concatenate([graph.train, graph.valid])
    whole = with_facts(bundle, graph, known, tmp_path / bundle.name)
    chosen = np.random.default_rng(7).choice(len(graph.test), SAMPLE, replace=False)
    triples = graph.test[np.sort(chosen)].astype(np.int64)
    with server(whole, *FLAGS, log=tmp_path / "log") as process:
        found, alone = served_ranks(process, graph, triples)
        runs = process.metric("mulde_batch_queries_count")
        assert process.metric("mulde_batch_queries_sum") > 1.2 * runs  # batches did form
        assert len(process.children()) == WORKERS
    expected = offline_ranks(whole, graph, graph.all_triples, triples, use_priors=True)
    far = found < 0  # not among the K best, of which so many are no other test facts
    assert (expected[far] > -found[far]).all()
    assert np.array_equal(found[~far], expected[~far])
    assert np.array_equal(alone, offline_ranks(whole, graph, known, triples, use_priors=False))
    found[far] = expected[far]
    assert summarise(*np.split(found, 2)) == summarise(*np.split(expected, 2))


def with_facts(bundle: Path, graph: Graph, known: Triples, target: Path) -> Path:
    """The bundle with known facts [n, 3], which the committed one may not carry."""
    opened = open_bundle(bundle)
    facts = target.with_suffix(".known")
    KnownFacts.build(known, graph.num_entities, graph.num_relations).write(facts)
    files = {name: opened.file(name) for name in opened.manifest.files}
    write_bundle(target, opened.manifest, {**files, KNOWN: facts})
    return target


def served_ranks(process: ServerProcess, graph: Graph, triples: Rows) -> tuple[Float64, Float64]:
    """Ranks of tails, then of heads, [2n], of triples [n, 3], asked one query a call.

    Those read off the answers (see ``rank``), and those of ScoreTriples.
    """
    ids, relations = graph.entity_ids, graph.relation_ids
    n, found, alone = len(triples), np.zeros(2 * len(triples)), np.zeros(2 * len(triples))
    test = KnownFacts.build(graph.test, graph.num_entities, graph.num_relations)

    def ask(client: Client, place: int) -> None:
        head, relation, tail = triples[place].tolist()
        names = ids[head], relations[relation], ids[tail]
        tails = patiently(lambda: client.predict_tails(*names[:2], k=K, view="row"))
        heads = patiently(lambda: client.predict_heads(*names[1:], k=K, view="row"))
        found[place] = rank(tail, tails, test.of(head, relation))
        found[n + place] = rank(head, heads, test.of(tail, relation + graph.num_relations))
        own = patiently(lambda: client.score(*names, ranks=True))
        assert own.tail_ranks is not None
        assert own.head_ranks is not None
        alone[place], alone[n + place] = own.tail_ranks[0], own.head_ranks[0]

    def ask_many(caller: int) -> None:
        with Client(Connection(process.address, attempts=5), timeout_s=300) as client:
            for place in range(caller, n, CALLERS):
                ask(client, place)

    with ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(ask_many, caller) for caller in range(CALLERS)]:
            done.result()
    return found, alone


def patiently(ask: Callable[[], T]) -> T:
    """Ask again while the server refuses because it has too much to do."""
    while True:
        try:
            return ask()
        except Overloaded:
            time.sleep(0.02)


def rank(target: int, answers: Answers, test: NDArray[np.int32]) -> float:
    """Filtered rank of a row among the answers; minus the number of better ones if it is missing.

    Args:
        target: its row.
        answers: to one query, whose known facts are excluded.
        test: rows that are test facts of the query.
    """
    counts = ~np.isin(answers.rows, np.setdiff1d(test, [target]))
    rows, totals = answers.rows[counts], answers.scores[counts]
    if answers.priors is not None:
        totals = totals + answers.priors[counts]
    own = totals[rows == target]
    if not len(own):
        return -float(len(rows))
    return float(1 + (totals > own).sum() + ((totals == own).sum() - 1) / 2)


def offline_ranks(
    bundle: Path, graph: Graph, known: Triples, triples: Rows, *, use_priors: bool
) -> Float64:
    """The same by the definition, from the scores of every entity; known facts [n, 3] left out."""
    heads, relations, tails = triples.T
    task = RankingTask(
        entity=np.concatenate([heads, tails]),
        relation=np.concatenate([relations, relations + graph.num_relations]),
        target=np.concatenate([tails, heads]),
        known=KnownFacts.build(known, graph.num_entities, graph.num_relations),
    )
    with Engine.open(bundle) as engine:
        return task.ranks(partial(engine.scores, use_priors=use_priors), batch=64)
