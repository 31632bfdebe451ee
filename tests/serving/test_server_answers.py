"""Through the real port: answers are the engine's, and one bad query fails alone."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest

from mulde.client import Client
from mulde.errors import (
    AmbiguousLabel,
    InvalidArgument,
    UnknownEntity,
    UnknownRelation,
)
from mulde.v1 import common_pb2, prediction_pb2, prediction_pb2_grpc
from serving.engine.engine import Engine
from tests.serving.conftest import E, R, ids
from tests.support.server import ServerProcess, server
from tests.support.toy import Toy, toy_bundle


@pytest.fixture
def asked() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    return generator.integers(0, E, 300), generator.integers(0, R, 300)


def test_tails_are_the_engines_to_the_last_bit(
    client: Client, local: Engine, asked: tuple[np.ndarray, np.ndarray]
) -> None:
    entities, relations = asked
    expected = local.predict(entities, relations, 7, exclude_known=True)
    answers = client.predict_tails(ids(entities), [f"P{r}" for r in relations], k=7)
    assert answers.rows.tolist() == expected.rows.tolist()
    assert answers.scores.tolist() == expected.scores.tolist()
    assert answers.ids == ids(expected.rows)
    assert answers.exact.all()
    assert answers.known_facts == "excluded"


def test_heads_are_the_reciprocal_tails(
    client: Client, local: Engine, asked: tuple[np.ndarray, np.ndarray]
) -> None:
    entities, relations = asked
    expected = local.predict(entities, relations + R, 3, exclude_known=True)
    answers = client.predict_heads([f"P{r}" for r in relations], ids(entities), k=3)
    assert answers.scores.tolist() == expected.scores.tolist()


def test_a_query_alone_gets_the_same_numbers(
    client: Client, asked: tuple[np.ndarray, np.ndarray]
) -> None:
    entities, relations = asked
    together = client.predict_tails(ids(entities), [f"P{r}" for r in relations], k=5)
    for place in (0, 123, 299):
        alone = client.predict_tails(f"Q{entities[place]:07d}", f"P{relations[place]}", k=5)
        assert alone[0] == together[place]


def test_labels_name_entities_as_ids_do(client: Client) -> None:
    by_id = client.predict_tails("Q0000007", "P1", k=3)[0]
    assert client.predict_tails("thing 7", "relation 1", k=3)[0] == by_id


def test_one_bad_query_does_not_sink_the_others(client: Client) -> None:
    heads = ["Q0000001", "thing 12x", "twin", "", "Q0000002", "Q0000003"]
    relations = ["P0", "P0", "P0", "P0", "nothing", "P0"]
    answers = client.predict_tails(heads, relations, k=2)
    assert sorted(answers.errors) == [1, 2, 3, 4]
    assert answers[0] == client.predict_tails("Q0000001", "P0", k=2)[0]
    assert answers[5] == client.predict_tails("Q0000003", "P0", k=2)[0]
    unknown, ambiguous, empty, relation = (answers.errors[place] for place in (1, 2, 3, 4))
    assert isinstance(unknown, UnknownEntity)
    assert unknown.field == "heads[1]"
    assert "thing 12" in unknown.nearest
    assert isinstance(ambiguous, AmbiguousLabel)
    assert ambiguous.choices == ("Q0001198", "Q0001199")
    assert isinstance(empty, InvalidArgument)
    assert empty.field == "heads[3]"
    assert isinstance(relation, UnknownRelation)
    assert relation.field == "relations[4]"


def test_a_batch_of_bad_queries_alone_is_answered(client: Client) -> None:
    answers = client.predict_tails(["nope", "nor this"], "P0")
    assert sorted(answers.errors) == [0, 1]
    assert len(answers.rows) == 0


def test_views_say_more_or_less_about_each_answer(client: Client) -> None:
    full = client.predict_tails("Q0000001", "P0", k=2)
    id_only = client.predict_tails("Q0000001", "P0", k=2, view="id")
    row_only = client.predict_tails("Q0000001", "P0", k=2, view="row")
    assert (len(full.ids), len(full.labels)) == (2, 2)
    assert (id_only.ids, id_only.labels) == (full.ids, [])
    assert (row_only.ids, row_only.labels) == ([], [])
    assert row_only.rows.tolist() == full.rows.tolist()


def test_probabilities_are_the_calibrated_scores(client: Client, local: Engine) -> None:
    calibration = local.bundle.calibration
    assert calibration is not None
    tails = client.predict_tails("Q0000001", "P0", k=9)
    heads = client.predict_heads("P0", "Q0000001", k=9)
    assert tails.probabilities is not None
    assert heads.probabilities is not None
    for answers, row in ((tails, 0), (heads, R)):
        asked = np.full(len(answers.scores), row)
        expected = calibration.probability(answers.scores, asked, priors=True)
        assert answers.probabilities is not None
        assert answers.probabilities.tolist() == expected.tolist()


def test_a_plausibility_is_that_of_the_triple_in_both_directions(client: Client) -> None:
    tails = client.predict_tails("Q0000001", "P0", k=5, plausibility=True)
    scored = client.score(["Q0000001"] * 5, "P0", tails.ids)
    heads = client.predict_heads("P0", "Q0000001", k=5, plausibility=True)
    back = client.score(heads.ids, "P0", ["Q0000001"] * 5)
    for answers, triples in ((tails, scored), (heads, back)):
        assert answers.plausibilities is not None
        assert triples.plausibilities is not None
        assert answers.plausibilities.tolist() == triples.plausibilities.tolist()
    assert client.predict_tails("Q0000001", "P0").plausibilities is None


def test_a_plausibility_rises_with_the_base_rate(client: Client) -> None:
    triple = ("Q0000001", "P0", "Q0000002")
    found = [client.score(*triple, base_rate=rate).plausibilities for rate in (0.1, 0.5, 0.9)]
    low, middle, high = (float(one[0]) for one in found if one is not None)
    assert low < middle < high
    assert client.score(*triple).plausibilities == middle
    for rate in (0.0, 1.0):
        with pytest.raises(InvalidArgument, match="base_rate"):
            client.score(*triple, base_rate=rate)


def test_new_facts_are_ranked_by_score_and_prior_and_others_by_the_score(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=60, relations=2, loops=(1,), traits=2)
    with server(toy.path, log=tmp_path / "log") as process, Client(process.address) as asking:
        new = asking.predict_tails("Q0000001", "P0", k=20)
        every = asking.predict_tails("Q0000001", "P0", k=20, exclude_known=False)
        triples = asking.score(["Q0000001"] * 20, "P0", new.ids)
        loop = asking.score("Q0000001", "P0", "Q0000001")
        allowed = asking.score("Q0000001", "P1", "Q0000001")
    assert new.priors is not None
    assert (np.diff(new.scores + new.priors) <= 0).all()
    assert (np.diff(new.scores) > 0).any()
    assert every.priors is None
    assert (np.diff(every.scores) <= 0).all()
    assert triples.tail_scores.tolist() == new.scores.tolist()
    assert loop.self_loops.tolist() == [True]
    assert loop.plausibilities == pytest.approx([0.001])
    assert allowed.self_loops.tolist() == [False]


def test_relations_are_ranked_and_marked(client: Client, local: Engine, served_toy: Toy) -> None:
    head, relation, tail = served_toy.triples[20]
    expected = local.relations(head, tail, R)
    answers = client.predict_relations(f"Q{head:07d}", f"Q{tail:07d}", k=R, exclude_known=False)
    assert answers.rows.tolist() == expected.rows.tolist()
    assert answers.scores.tolist() == expected.scores.tolist()
    assert f"P{relation}" in [answer.id for answer in answers[0] if answer.known]
    left = client.predict_relations(f"Q{head:07d}", f"Q{tail:07d}")
    assert f"P{relation}" not in left.ids


def test_scores_agree_with_predictions(client: Client) -> None:
    answers = client.predict_tails("Q0000005", "P3", k=6)
    scores = client.score(["Q0000005"] * 6, "P3", answers.ids, ranks=True)
    assert scores.tail_scores.tolist() == answers.scores.tolist()
    assert scores.tail_ranks is not None
    assert scores.tail_ranks.tolist() == [1, 2, 3, 4, 5, 6]
    back = client.predict_heads("P3", answers.ids[0], k=1000)
    place = back.ids.index("Q0000005")
    assert scores.head_scores[0] == back.scores[place]
    assert scores.scores.tolist() == ((scores.tail_scores + scores.head_scores) / 2).tolist()


def test_scores_tell_what_is_known_and_what_failed(client: Client, served_toy: Toy) -> None:
    head, relation, tail = served_toy.triples[4]
    scores = client.score(
        [f"Q{head:07d}", "nobody", f"Q{head:07d}"],
        [f"P{relation}"] * 3,
        [f"Q{tail:07d}", f"Q{tail:07d}", f"Q{head:07d}"],
    )
    assert scores.known is not None
    assert scores.known.tolist()[:2] == [True, False]
    assert list(scores.errors) == [1]
    assert scores.scores[1] == 0
    assert scores.tail_ranks is None


def test_every_query_has_a_status_at_the_wire(served: ServerProcess) -> None:
    with grpc.insecure_channel(served.address) as channel:
        stub = prediction_pb2_grpc.LinkPredictionServiceStub(channel)
        reply = stub.PredictTails(
            prediction_pb2.PredictTailsRequest(
                heads=["Q0000001", "nobody", "twin"], relations=["P0"] * 3
            )
        )
    assert list(reply.answers.codes) == [0, 5, 3]
    assert [error.query for error in reply.answers.errors] == [1, 2]
    detail = common_pb2.NameProblem()
    packed = [d for d in reply.answers.errors[1].status.details if d.Is(detail.DESCRIPTOR)]
    packed[0].Unpack(detail)
    assert list(detail.choices) == ["Q0001198", "Q0001199"]
