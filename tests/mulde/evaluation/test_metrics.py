"""The ranking task equals a loop over triples and candidates, in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import SPLITS, Graph, read_folder
from tests.support.tiny import write_tiny_graph


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The tiny graph."""
    return read_folder(write_tiny_graph(tmp_path_factory.mktemp("graphs") / "tiny"))


@pytest.fixture(scope="module")
def table(graph: Graph) -> NDArray[np.float32]:
    """Scores [2R, E, E] with many ties."""
    shape = (2 * graph.num_relations, graph.num_entities, graph.num_entities)
    return np.random.default_rng(1).integers(0, 9, shape).astype(np.float32)


def naive_ranks(graph: Graph, table: NDArray[np.float32], split: str) -> list[float]:
    """Tails, then heads: each by the definition of a filtered rank with realistic ties."""
    facts = {tuple(row) for name in SPLITS for row in graph.split(name).tolist()}
    ranks = []
    for direction in ("tail", "head"):
        for head, relation, tail in graph.split(split).tolist():
            if direction == "tail":
                scores, target = table[relation, head], tail
                known = {t for t in range(graph.num_entities) if (head, relation, t) in facts}
            else:
                scores, target = table[relation + graph.num_relations, tail], head
                known = {h for h in range(graph.num_entities) if (h, relation, tail) in facts}
            others = [scores[e] for e in range(graph.num_entities) if e not in known]
            better = sum(score > scores[target] for score in others)
            equal = sum(score == scores[target] for score in others)
            ranks.append(1 + better + equal / 2)
    return ranks


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("batch", [3, 512])
def test_ranks_equal_a_loop_whatever_the_batch(
    graph: Graph, table: NDArray[np.float32], split: str, batch: int
) -> None:
    found = RankingTask.of(graph, split).ranks(lambda e, r: table[r, e], batch=batch)
    assert found.tolist() == naive_ranks(graph, table, split)


def test_quality_is_the_mean_over_both_directions(graph: Graph, table: NDArray[np.float32]) -> None:
    figures = RankingTask.of(graph, "test").quality(lambda e, r: table[r, e])
    ranks = naive_ranks(graph, table, "test")
    count = len(graph.test)
    for name, part in (("tail", ranks[:count]), ("head", ranks[count:]), ("total", ranks)):
        assert figures[name] == pytest.approx(
            {
                "mrr": sum(1 / rank for rank in part) / len(part),
                "hits@1": sum(rank <= 1 for rank in part) / len(part),
                "hits@3": sum(rank <= 3 for rank in part) / len(part),
                "hits@10": sum(rank <= 10 for rank in part) / len(part),
            }
        )


def test_triples_with_entities_that_train_lacks_are_ranked_too(graph: Graph) -> None:
    assert graph.unseen["test"] == 1
    newcomer = graph.entity_ids.index("newcomer")
    task = RankingTask.of(graph, "test")
    assert len(task.target) == 2 * len(graph.test)
    assert newcomer in task.entity
    assert newcomer in task.target


def test_progress_is_reported_up_to_the_last_query(
    graph: Graph, table: NDArray[np.float32]
) -> None:
    seen: list[int] = []
    task = RankingTask.of(graph, "test")
    task.ranks(lambda e, r: table[r, e], batch=8, report=seen.append)
    assert seen == [8, 16, 22]
