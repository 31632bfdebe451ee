"""Entities that the model does not know, asked about with facts about them."""

from __future__ import annotations

import numpy as np
import pytest

from mulde.client import Client
from mulde.errors import InvalidArgument, UnknownEntity, UnknownRelation

Facts = list[tuple[str, str, str]]


def facts(client: Client, name: str = "comet", count: int = 4) -> Facts:
    """Return facts that some known entity most certainly has, about an unknown one."""
    answers = client.predict_tails([f"Q{i:07d}" for i in range(count)], "P1", k=1, view="id")
    return [(name, "P1", tail) for tail in dict.fromkeys(answers.ids)]


def test_an_unknown_entity_is_placed_and_answered_and_its_facts_are_known(client: Client) -> None:
    context = facts(client)
    answers = client.predict_tails(["comet", "Q0000003"], "P1", k=5, context=context)
    assert [(one.name, one.method, one.facts) for one in answers.placed] == [
        ("comet", "fitted", len(context))
    ]
    assert len(answers[0]) == 5
    assert answers.exact.all()
    assert not {tail for _, _, tail in context} & {answer.id for answer in answers[0]}
    alone = client.predict_tails("Q0000003", "P1", k=5)
    assert [answer.id for answer in answers[1]] == [answer.id for answer in alone[0]]
    allow = [*(tail for _, _, tail in context), "Q0000900", "Q0000901"]
    with_known = client.predict_tails(
        "comet", "P1", allow=allow, exclude_known=False, context=context
    )
    assert len(with_known[0]) == len(allow)
    marked = {answer.id for answer in with_known[0] if answer.known}
    assert marked == {tail for _, _, tail in context}


def test_it_answers_where_it_is_known_and_nowhere_else(client: Client) -> None:
    context = [("Q0000005", "P2", "comet"), ("Q0000006", "P2", "comet")]
    scores = client.score(
        ["Q0000005", "Q0000005"], "P2", ["comet", "Q0000009"], ranks=True, context=context
    )
    assert scores.known is not None
    assert scores.tail_ranks is not None
    assert scores.known.tolist()[0]
    assert scores.tail_ranks[0] < 1200 / 4
    heads = client.predict_heads("P2", "comet", k=3, context=context)
    assert len(heads[0]) == 3
    everyone = client.predict_tails("Q0000005", "P2", k=1000, exclude_known=False, context=context)
    assert "comet" not in everyone.ids


def test_the_same_context_has_the_same_answer_whatever_else_is_asked(client: Client) -> None:
    one, other = facts(client), facts(client, "asteroid", 2)
    alone = client.predict_tails("comet", "P0", k=3, context=one)
    both = client.predict_tails(["asteroid", "comet"], "P0", k=3, context=[*other, *one])
    np.testing.assert_array_equal(alone.scores, both.scores[both.offsets[1] :])
    assert [one.name for one in both.placed] == ["asteroid", "comet"]


def test_bad_context_is_refused_with_its_place(client: Client) -> None:
    with pytest.raises(InvalidArgument, match=r"context\[1\].*one entity that the model knows"):
        client.predict_tails(
            "a", "P1", context=[("a", "P1", "Q0000001"), ("Q0000002", "P1", "Q0000001")]
        )
    with pytest.raises(InvalidArgument, match=r"context\[0\].*one entity that the model knows"):
        client.predict_tails("a", "P1", context=[("a", "P1", "b")])
    with pytest.raises(UnknownRelation, match=r"context\[0\]"):
        client.predict_tails("a", "P1", context=[("a", "orbits", "Q0000001")])
    many = [("a", "P1", f"Q{i:07d}") for i in range(101)]
    with pytest.raises(InvalidArgument, match="context: expected at most 100 facts about 'a'"):
        client.predict_tails("a", "P1", context=many)
    with pytest.raises(InvalidArgument, match="context: expected at most 10000 facts"):
        client.predict_tails("a", "P1", context=many * 100)
    failed = client.predict_tails(["a", "b"], "P1", context=many[:3])
    assert isinstance(failed.errors[1], UnknownEntity)
    assert len(failed[0]) == 10
