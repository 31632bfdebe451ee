"""``mulde query``, ``score``, ``search`` and ``models`` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mulde.cli import app
from mulde.client import Client
from mulde.errors import MuldeError
from tests.serving.test_server_models import ADMIN, fill, tokens
from tests.support.server import ServerProcess, run_mulde, server
from tests.support.toy import Toy

Run = Callable[..., Result]


@pytest.fixture
def run(served: ServerProcess) -> Run:
    runner = CliRunner()

    def invoke(*arguments: str) -> Result:
        command = [*arguments, "--server", served.address]
        return runner.invoke(app, command, env={"COLUMNS": "200", "NO_COLOR": "1"})

    return invoke


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_query_asks_for_the_part_that_is_missing(run: Run, client: Client) -> None:
    tails = as_json(run("query", "Q0000001", "P0", "--json", "-k", "3"))
    expected = client.predict_tails("Q0000001", "P0", k=3)[0]
    assert [answer["id"] for answer in tails["answers"]] == [answer.id for answer in expected]
    assert tails["model"] == "toy/1"
    assert tails["exact"] is True
    assert tails["known_facts"] == "excluded"
    heads = as_json(run("query", "?", "P0", "Q0000001", "--json"))
    assert [a["id"] for a in heads["answers"]] == client.predict_heads("P0", "Q0000001").ids
    relations = as_json(run("query", "Q0000001", "_", "Q0000002", "--json"))
    assert {answer["id"] for answer in relations["answers"]} <= {"P0", "P1", "P2", "P3"}


def test_query_prints_a_table(run: Run) -> None:
    printed = run("query", "thing 1", "relation 0", "-k", "2", "--with-known").stdout
    assert "thing 1 relation 0 ?" in printed
    assert "probability" in printed
    assert "known" in printed
    assert "toy/1, exact" in printed


def test_query_options_reach_the_server(run: Run, client: Client, served_toy: Toy) -> None:
    every = client.predict_tails("Q0000001", "P0", k=50, exclude_known=False)
    score = str(float(every.scores[3]))
    cut = as_json(
        run("query", "Q0000001", "P0", "--json", "-k", "50", "--with-known", "--min-score", score)
    )
    assert [answer["id"] for answer in cut["answers"]] == every.ids[:4]
    assert cut["shortfall"] == "threshold"
    typed = as_json(run("query", "Q0000001", "P0", "--json", "--type", "tail:P2", "--exact"))
    assert {a["id"] for a in typed["answers"]} <= {
        f"Q{row:07d}" for row in served_toy.triples[served_toy.triples[:, 1] == 2, 2]
    }
    none = as_json(run("query", "Q0000001", "P0", "--json", "--min-probability", "1"))
    assert none["answers"] == []


def test_relations_are_ranked_for_two_entities(run: Run, client: Client) -> None:
    found = as_json(run("relations", "Q0000001", "Q0000002", "--json", "-k", "2"))
    expected = client.predict_relations("Q0000001", "Q0000002", k=2)[0]
    assert [answer["id"] for answer in found["answers"]] == [answer.id for answer in expected]


def test_similar_entities_are_ranked_by_distance(run: Run, client: Client) -> None:
    found = as_json(run("similar", "thing 1", "--json", "-k", "4", "--type", "tail:P2"))
    expected = client.similar("Q0000001", k=4, types=["tail:P2"])[0]
    assert [answer["id"] for answer in found["answers"]] == [answer.id for answer in expected]


@pytest.mark.parametrize(
    "command",
    [
        ("query", "Q0000001", "P0"),
        ("relations", "Q0000001", "Q0000002"),
        ("similar", "Q0000001"),
        ("search", "thing 1"),
    ],
)
def test_lines_with_tabs_have_whole_ids(run: Run, command: tuple[str, ...]) -> None:
    listed = as_json(run(*command, "--json", "-k", "3"))
    answers = listed["answers"] if "answers" in listed else listed["entities"]
    names, *rows = (
        line.split("\t") for line in run(*command, "--tsv", "-k", "3").stdout.split("\n")[:-1]
    )
    assert [row[names.index("id")] for row in rows] == [answer["id"] for answer in answers]
    if "score" in names:
        scores = [float(row[names.index("score")]) for row in rows]
        assert scores == [answer["score"] for answer in answers]


def test_a_score_is_printed_as_lines_with_tabs(run: Run) -> None:
    names, values = run("score", "Q0000001", "P0", "Q0000002", "--tsv").stdout.splitlines()
    told = as_json(run("score", "Q0000001", "P0", "Q0000002", "--json"))
    assert (
        float(dict(zip(names.split("\t"), values.split("\t"), strict=True))["scores"])
        == told["scores"]
    )


def test_a_narrow_table_wraps_ids_and_loses_nothing(served: ServerProcess) -> None:
    command = ["query", "Q0000001", "P0", "-k", "3", "--server", served.address]
    printed = CliRunner().invoke(app, command, env={"COLUMNS": "30", "NO_COLOR": "1"}).stdout
    assert "…" not in printed.split("toy/1")[0].split("\n", 2)[2]


def test_query_without_a_gap_or_with_two_is_refused(run: Run) -> None:
    for arguments in (("Q0000001", "P0", "Q0000002"), ("?", "?", "Q0000002")):
        result = run("query", *arguments)
        assert result.exit_code == 2
        assert "exactly one" in result.output


def test_score_tells_score_probability_and_ranks(run: Run, client: Client) -> None:
    told = as_json(run("score", "Q0000001", "P0", "Q0000002", "--ranks", "--json"))
    expected = client.score("Q0000001", "P0", "Q0000002", ranks=True)
    assert told["scores"] == expected.scores[0]
    assert expected.tail_ranks is not None
    assert told["tail_ranks"] == expected.tail_ranks[0]
    assert "tail ranks" not in run("score", "Q0000001", "P0", "Q0000002").stdout


def test_an_entity_is_shown_with_types_and_numbers_of_facts(run: Run, client: Client) -> None:
    card = as_json(run("entity", "thing 1", "--json"))
    expected = client.entity("Q0000001")
    assert (card["id"], card["label"], card["description"]) == ("Q0000001", "thing 1", "")
    assert [one["count"] for one in card["facts"]] == [one.count for one in expected.facts]
    shown = run("entity", "thing 1").stdout
    assert "thing 1 (Q0000001)" in shown
    assert all(f"(this, {one.label}, ..)" in shown for one in expected.facts if one.side == 1)


def test_search_finds_what_was_misspelt(run: Run) -> None:
    found = as_json(run("search", "thinng 77", "--json", "-k", "5"))
    assert {"id": "Q0000077", "label": "thing 77"} in found["entities"]
    assert "thing 77" in run("search", "thinng 77").stdout


def test_models_are_listed_and_shown(run: Run, served_toy: Toy) -> None:
    listed = as_json(run("models", "list", "--json"))
    assert listed["models"][0]["name"] == "toy"
    assert listed["models"][0]["test_mrr"] == 0.5
    assert "toy/1" in run("models", "list").stdout
    assert as_json(run("models", "show"))["entities"] == 1200


def test_errors_of_the_server_are_one_sentence(run: Run, served: ServerProcess) -> None:
    assert isinstance(run("query", "nobody", "P0").exception, MuldeError)
    done = run_mulde("query", "nobody", "P0", "--server", served.address)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: heads[0]: no entity is called 'nobody'")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[ServerProcess]:
    fill(tmp_path / "models")
    flags = ("--api-key-file", str(tokens(tmp_path)))
    with server(tmp_path / "models", *flags, log=tmp_path / "log") as process:
        yield process


def test_models_are_changed_with_an_admin_token(repository: ServerProcess) -> None:
    runner = CliRunner()

    def change(*arguments: str) -> str:
        command = ["models", *arguments, "--server", repository.address]
        result = runner.invoke(app, command, env={"MULDE_TOKEN": ADMIN})
        assert result.exit_code == 0, result.output
        return result.stdout

    assert change("load", "animals", "1", "--pin") == "current: animals/1\n"
    assert change("reload", "animals") == "current: animals/1 (unchanged)\n"
    assert change("load", "animals") == "current: animals/2\n"
    assert change("unload", "animals", "1") == "unloaded: animals/1\n"
    refused = runner.invoke(
        app, ["models", "load", "animals", "--server", repository.address], env={"MULDE_TOKEN": "x"}
    )
    assert isinstance(refused.exception, MuldeError)
