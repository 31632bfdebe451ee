"""Right and wrong answers to test questions, with their explanations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mulde.graph.graph import Graph
from mulde.typing import Mask
from serving.local.client import LocalClient
from training.report.measure import TestQuality

EACH = 5
WRONG_RANK = 10


@dataclass(frozen=True)
class Example:
    """A test question (head, relation, ?) and what the model said.

    Attributes:
        question: by labels.
        answer: the right tail.
        rank: filtered rank of it.
        first: label of the best new answer where it is another one, else "".
        sentences: why the right tail; then, where it is wrong, why the first.
    """

    question: str
    answer: str
    rank: float
    first: str
    sentences: list[str]


def pick_examples(
    client: LocalClient, graph: Graph, quality: TestQuality
) -> tuple[list[Example], list[Example]]:
    """Return right and wrong examples of different relations, drawn at random.

    Raises:
        Unsupported: if the bundle has no known facts.
    """
    ranks = quality.ranks[: len(quality.triples)]
    right = [_example(client, graph, quality, row) for row in _draw(quality, ranks == 1)]
    wrong = [_example(client, graph, quality, row) for row in _draw(quality, ranks > WRONG_RANK)]
    return right, wrong


def _draw(quality: TestQuality, wanted: Mask) -> list[int]:
    """Rows of test triples, each of another relation as far as there are some."""
    order = np.random.default_rng(1).permutation(np.flatnonzero(wanted))
    _, first = np.unique(quality.triples[order, 1], return_index=True)
    rest = np.setdiff1d(np.arange(len(order)), first)
    chosen = np.concatenate([np.random.default_rng(2).permutation(first), rest])[:EACH]
    return [int(row) for row in order[chosen]]


def _example(client: LocalClient, graph: Graph, quality: TestQuality, row: int) -> Example:
    head, relation, tail = quality.triples[row].tolist()
    names = graph.entity_ids[head], graph.relation_ids[relation], graph.entity_ids[tail]
    rank = float(quality.ranks[row])
    sentences = client.explain(*names)[0].sentences()
    first = ""
    if rank > 1:
        best = client.predict_tails(names[0], names[1], k=1)[0]
        if best:
            first = best[0].label
            sentences += client.explain(names[0], names[1], best[0].id)[0].sentences()
    question = f"{graph.entity_labels[head]} → {graph.relation_labels[relation]} → ?"
    return Example(question, graph.entity_labels[tail], rank, first, sentences)
