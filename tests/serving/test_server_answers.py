"""Through the real port: answers are the engine's, and one bad query fails alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from mulde.client import Client
from mulde.errors import (
    AmbiguousLabel,
    InvalidArgument,
    UnknownEntity,
    UnknownRelation,
    UnknownType,
)
from mulde.v1 import common_pb2, prediction_pb2, prediction_pb2_grpc
from serving.engine.engine import Engine
from tests.support.server import ServerProcess, server
from tests.support.toy import Toy, toy_bundle

E, R = 1200, 4


def ids(rows: np.ndarray) -> list[str]:
    return [f"Q{row:07d}" for row in rows]


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


def test_similar_entities_leave_out_the_entity_itself(client: Client, local: Engine) -> None:
    answers = client.similar(["Q0000005", "thing 9"], k=4)
    assert answers.rows.tolist() == local.similar([5, 9], 4).rows.tolist()
    assert 5 not in answers.rows[:4]
    assert (answers.scores <= 0).all()


def test_search_finds_beginnings_misspellings_and_ids(client: Client) -> None:
    found = client.search(["thing 11", "thinng 77", "Q0000042"])
    assert found[0][0] == ("Q0000011", "thing 11")
    assert ("Q0000077", "thing 77") in found[1][:5]
    assert found[2][0] == ("Q0000042", "thing 42")


def test_search_comes_in_pages(client: Client) -> None:
    whole = client.search("thing 1", page_size=30)[0]
    token, pages = "", []
    for _ in range(3):
        page = client.search("thing 1", page_size=10, page_token=token)
        pages += page[0]
        token = page.next_page_token
    assert pages == whole


def test_relations_are_listed(client: Client) -> None:
    relations = client.relations()
    assert list(relations) == [(f"P{r}", f"relation {r}") for r in range(R)]


def test_the_model_tells_what_it_is(client: Client, local: Engine) -> None:
    reply = client.model()
    manifest = local.manifest
    assert (reply.model.name, reply.model.version) == ("toy", "1")
    assert (reply.model.entities, reply.model.relations) == (E, R)
    assert reply.model.manifest_json == manifest.to_json()
    assert reply.model.current
    assert reply.model.test_mrr == 0.5
    assert reply.limits.max_batch_size == 1024


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
