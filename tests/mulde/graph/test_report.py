"""The report counts what a user should know before training."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from mulde.graph import read_graph
from mulde.graph.report import GraphReport, Pattern, find_patterns

Fact = tuple[str, str, str]


def report(facts: list[Fact]) -> GraphReport:
    found: GraphReport = read_graph(facts).report
    return found


def counts(facts: list[Fact]) -> dict[str, int]:
    return {one.name: one.count for one in report(facts).findings}


def chain(relation: str, length: int = 10) -> list[Fact]:
    return [(f"e{a}", relation, f"e{b}") for a, b in pairwise(range(length + 1))]


def test_a_plain_graph_has_nothing_to_report() -> None:
    assert counts([*chain("r"), ("e0", "s", "e5")]) == {}
    assert report([*chain("r"), ("e0", "s", "e5")]).patterns == ()


def test_duplicates_and_self_loops_are_counted() -> None:
    facts = [*chain("r"), *chain("r", 2), ("e1", "s", "e1")]
    assert counts(facts) == {"duplicates": 2, "self_loops": 1}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_constant_column_is_named(place: int) -> None:
    facts = [tuple("x" if p == place else name for p, name in enumerate(f)) for f in chain("r")]
    facts += [("e0", "s", "e5")] if place != 1 else []
    column = ("subject", "predicate", "object")[place]
    if place != 1:
        facts[-1] = ("x", "s", "e5") if place == 0 else ("e5", "s", "x")
    assert f"constant_{column}" in counts(facts)  # type: ignore[arg-type]


def test_exchanged_columns_are_suspected() -> None:
    exchanged = [(h, t, r) for h, r, t in [*chain("r", 30), ("e0", "s", "e9")]]
    assert counts(exchanged)["swapped_columns"] == 30


def test_many_relations_of_few_entities_are_no_reason_for_suspicion() -> None:
    facts = [(f"e{n % 3}", f"r{n}", f"e{(n + 1) % 3}") for n in range(30)]
    assert counts(facts) == {}


def test_utf_8_that_was_read_as_latin_1_is_found() -> None:
    broken = "Köln".encode().decode("latin-1")
    assert counts([*chain("r"), ("e0", "s", broken)]) == {"mixed_encodings": 1}


def test_names_that_differ_in_spaces_or_accents_are_counted() -> None:
    facts = [*chain("r"), ("e0 ", "s", "\u00e9"), ("e1", "s", "e\u0301")]
    assert counts(facts) == {"spellings": 2}


def test_symmetric_inverse_and_near_duplicate_relations_are_found() -> None:
    facts = [
        *chain("knows"), *((t, "knows", h) for h, _, t in chain("knows")),
        *((f"f{n}", "parent", f"f{n + 20}") for n in range(10)),
        *((f"f{n + 20}", "child", f"f{n}") for n in range(9)),
        *((f"g{n}", "born in", f"h{n}") for n in range(10)),
        *((f"g{n}", "birth place", f"h{n}") for n in range(2, 10)),
        *((f"f{n}", "likes", f"g{n}") for n in range(10)),
    ]  # fmt: skip
    assert report(facts).patterns == (
        Pattern("symmetric", ("knows",), 1.0),
        Pattern("inverse", ("child", "parent"), 0.9),
        Pattern("near_duplicate", ("birth place", "born in"), 0.8),
    )


def test_patterns_are_those_of_a_count_by_hand() -> None:
    """Every pair of relations of a random graph, compared as sets."""
    rows = np.random.default_rng(3).integers(0, [12, 4, 12], size=(400, 3))
    facts = {(f"e{h}", f"r{r}", f"e{t}") for h, r, t in rows.tolist()}
    ways = {r: {(h, t) for h, q, t in facts if q == r and h != t} for r in ("r0", "r1", "r2", "r3")}
    shares = {
        (name, one, other): len(ways[one] & second) / max(len(ways[one]), len(ways[other]))
        for one in ways
        for other in ways
        for name, second in (
            ("near_duplicate", ways[other]), ("inverse", {(t, h) for h, t in ways[other]}),
        )
        if one <= other and not (name == "near_duplicate" and one == other)
    }  # fmt: skip
    patterns = find_patterns(read_graph(sorted(facts)).facts, like=0.0, least_shared=0)
    found = {
        ("inverse" if one.name == "symmetric" else one.name, one.relations[0],
         one.relations[-1]): one.share for one in patterns
    }  # fmt: skip
    assert found == pytest.approx(shares)


def test_the_report_is_text_and_json() -> None:
    made = report([*chain("r"), *chain("r", 2), ("e1", "s\x1b[2J", "e1")])
    assert json.loads(json.dumps(made.json()))["entities"] == 11
    assert "13 triples read: 11 facts, 11 entities, 2 relations" in made.text()
    assert "2 repeated triples: kept once" in made.text()
    assert "\x1b" not in made.text()
