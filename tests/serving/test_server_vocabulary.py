"""Through the real port: search, the list of relations and what the model is."""

from __future__ import annotations

from mulde.client import Client
from serving.engine.engine import Engine
from tests.serving.conftest import E, R


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
