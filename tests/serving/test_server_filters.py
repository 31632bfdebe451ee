"""Through the real port: filters, exclusions and thresholds bound the candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from mulde.client import Client
from mulde.errors import (
    UnknownEntity,
    UnknownType,
)
from mulde.v1 import prediction_pb2, prediction_pb2_grpc
from tests.serving.conftest import E, ids
from tests.support.server import ServerProcess, server
from tests.support.toy import Toy, toy_bundle


def test_an_entity_is_no_answer_to_its_own_query_where_its_relation_does_not_loop(
    tmp_path: Path,
) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=60, relations=2, loops=(1,), known=False)
    everybody = ids(np.arange(60))
    with (
        server(toy.path, log=tmp_path / "log") as process,
        Client(process.address) as asking,
    ):
        for place, least in ((0, 59), (1, 60)):
            relation = [f"P{place}"] * 60
            tails = asking.predict_tails(everybody, relation, k=60)
            heads = asking.predict_heads(relation, everybody, k=60)
            for answers in (tails, heads):
                assert [len(answers[row]) for row in range(60)] == [least] * 60


def test_known_facts_are_marked_on_request(client: Client, served_toy: Toy) -> None:
    head, relation, tail = served_toy.triples[11]
    answers = client.predict_tails(f"Q{head:07d}", f"P{relation}", k=1000, exclude_known=False)
    assert answers.known_facts == "marked"
    known = {answer.row for answer in answers[0] if answer.known}
    wanted = served_toy.triples[:, :2].tolist()
    facts = {
        int(t)
        for (h, r), t in zip(wanted, served_toy.triples[:, 2], strict=True)
        if (h, r) == (head, relation)
    }
    assert known == facts & set(answers.rows.tolist())
    left = client.predict_tails(f"Q{head:07d}", f"P{relation}", k=1000)
    assert not facts & set(left.rows.tolist())
    assert tail in facts


def test_k_unknown_answers_come_whenever_there_are_as_many(client: Client, served_toy: Toy) -> None:
    """All candidates that are not known facts and no more, for the queries with most facts."""
    queries, counts = np.unique(served_toy.triples[:, :2], axis=0, return_counts=True)
    for head, relation in queries[np.argsort(-counts)][:5].tolist():
        asked = (served_toy.triples[:, :2] == (head, relation)).all(axis=1)
        facts = set(served_toy.triples[asked, 2].tolist())
        candidates = facts | set(range(900))
        name, unknown = f"Q{head:07d}", candidates - facts
        for k, why in ((len(unknown), ""), (len(unknown) + 1, "candidates")):
            answers = client.predict_tails(
                name, f"P{relation}", allow=ids(np.array(sorted(candidates))), k=k
            )
            assert sorted(answers.rows.tolist()) == sorted(unknown)
            assert answers.shortfalls == [why]


def test_filters_bound_the_candidates(client: Client, served_toy: Toy) -> None:
    every = client.predict_tails("Q0000001", "P0", k=1000)
    some = [every.ids[place] for place in (3, 10, 50, 90)]
    allowed = client.predict_tails("Q0000001", "P0", allow=some, k=4)
    assert allowed.ids == some
    denied = client.predict_tails("Q0000001", "P0", allow=some, deny=some[1], k=4)
    assert denied.ids == [some[0], *some[2:]]
    assert denied.shortfalls == ["candidates"]
    tails = set(served_toy.triples[served_toy.triples[:, 1] == 2, 2].tolist())
    typed = client.predict_tails("Q0000001", "P0", types="tail:P2", k=20)
    assert set(typed.rows.tolist()) <= tails
    assert (
        typed.ids
        == [one for one, row in zip(every.ids, every.rows, strict=True) if row in tails][:20]
    )


def test_filters_that_leave_nothing_give_no_answers(client: Client, served_toy: Toy) -> None:
    tails = set(served_toy.triples[served_toy.triples[:, 1] == 2, 2].tolist())
    outside = next(row for row in range(E) if row not in tails)
    answers = client.predict_tails(
        ["Q0000001", "Q0000002"], "P0", allow=f"Q{outside:07d}", types="tail:P2"
    )
    assert answers.offsets.tolist() == [0, 0, 0]
    assert answers.shortfalls == ["candidates", "candidates"]
    assert answers.exact.all()


@pytest.mark.parametrize("part", ["allow", "types"])
def test_an_empty_list_of_candidates_allows_none(client: Client, part: str) -> None:
    given: dict[str, Any] = {part: []}
    tails = client.predict_tails(["Q0000001", "Q0000002"], "P0", **given)
    heads = client.predict_heads("P0", "Q0000001", **given)
    similar = client.similar("Q0000001", **given)
    for answers in (tails, heads, similar):
        assert len(answers.rows) == 0
        assert set(answers.shortfalls) == {"candidates"}


@pytest.mark.parametrize("part", ["allow", "types"])
def test_an_empty_list_at_the_wire_differs_from_none(served: ServerProcess, part: str) -> None:
    request = prediction_pb2.PredictTailsRequest(heads=["Q0000001"], relations=["P0"])
    request.options.k = 3
    with grpc.insecure_channel(served.address) as channel:
        stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
        request.filter.SetInParent()
        assert len(stub.PredictTails(request).answers.rows) == 3
        getattr(request.filter, part).SetInParent()
        assert len(stub.PredictTails(request).answers.rows) == 0


def test_an_unknown_type_is_named(client: Client) -> None:
    with pytest.raises(UnknownType) as caught:
        client.predict_tails("Q0000001", "P0", types=["tail:P2", "tail:P9"])
    assert caught.value.field == "filter.types[1]"
    assert "tail:P" in caught.value.nearest[0]


def test_an_unknown_name_in_a_filter_fails_the_call(client: Client) -> None:
    with pytest.raises(UnknownEntity) as caught:
        client.predict_tails("Q0000001", "P0", deny=["Q0000002", "nobody"])
    assert caught.value.field == "filter.deny[1]"


def test_thresholds_cut_and_say_so(client: Client) -> None:
    every = client.predict_tails("Q0000001", "P0", k=20)
    assert every.probabilities is not None
    score, probability = float(every.scores[4]), float(every.probabilities[2])
    by_score = client.predict_tails("Q0000001", "P0", k=20, score_threshold=score)
    assert by_score.ids == every.ids[:5]
    assert by_score.shortfalls == ["threshold"]
    by_probability = client.predict_tails("Q0000001", "P0", k=20, probability_threshold=probability)
    assert by_probability.ids == every.ids[:3]
