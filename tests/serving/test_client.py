"""The clients: alike, patient, and true to what the server meant."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mulde.client import AsyncClient, Client, Connection
from mulde.errors import DeadlineExceeded, InvalidArgument, UnknownEntity, Unreachable
from tests.support.server import ServerProcess, server
from tests.support.toy import Toy


def methods(kind: type) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: inspect.signature(function) for name, function in found if name[0] != "_"}


def test_both_clients_have_the_same_methods() -> None:
    assert methods(Client) == methods(AsyncClient)
    assert all(
        inspect.iscoroutinefunction(function)
        for name, function in inspect.getmembers(AsyncClient, inspect.isfunction)
        if name[0] != "_"
    )


def test_both_clients_get_the_same_answers(served: ServerProcess, client: Client) -> None:
    async def ask() -> tuple[object, ...]:
        async with AsyncClient(served.address) as other:
            return (
                (await other.predict_tails("Q0000001", "P0", k=4))[0],
                (await other.predict_heads("P0", "Q0000001", k=4))[0],
                (await other.predict_relations("Q0000001", "Q0000002"))[0],
                (await other.score("Q0000001", "P0", "Q0000002")).scores.tolist(),
                (await other.similar("Q0000001", k=2))[0],
                (await other.search("thing"))[0],
                list(await other.relations()),
                await other.models(),
                (await other.model()).model.name,
            )

    expected = (
        client.predict_tails("Q0000001", "P0", k=4)[0],
        client.predict_heads("P0", "Q0000001", k=4)[0],
        client.predict_relations("Q0000001", "Q0000002")[0],
        client.score("Q0000001", "P0", "Q0000002").scores.tolist(),
        client.similar("Q0000001", k=2)[0],
        client.search("thing")[0],
        list(client.relations()),
        client.models(),
        client.model().model.name,
    )
    assert asyncio.run(ask()) == expected


def test_the_async_client_asks_many_at_once(served: ServerProcess, client: Client) -> None:
    async def ask() -> list[list[str]]:
        async with AsyncClient(served.address) as other:
            calls = [other.predict_tails(f"Q{row:07d}", "P0", k=2) for row in range(40)]
            return [answers.ids for answers in await asyncio.gather(*calls)]

    one_by_one = [client.predict_tails(f"Q{row:07d}", "P0", k=2).ids for row in range(40)]
    assert asyncio.run(ask()) == one_by_one


def test_the_async_client_raises_what_the_server_meant(served: ServerProcess) -> None:
    async def ask() -> None:
        async with AsyncClient(served.address) as other:
            await other.predict_tails("Q0000001", "P0", k=0)

    with pytest.raises(InvalidArgument) as caught:
        asyncio.run(ask())
    assert caught.value.field == "options.k"


def test_numpy_arrays_go_in_and_come_out(client: Client) -> None:
    heads = np.array(["Q0000001", "Q0000002"])
    relations = np.array(["P0", "P1"], dtype=object)
    answers = client.predict_tails(heads, relations, k=3)
    assert answers.scores.dtype == np.float64
    assert answers.rows.shape == (6,)
    assert answers.offsets.tolist() == [0, 3, 6]
    assert [len(one) for one in answers] == [3, 3]
    assert answers[-1] == answers[1]
    assert answers[0:2] == [answers[0], answers[1]]
    with pytest.raises(IndexError):
        answers[2]


def test_one_relation_goes_with_each_head(client: Client) -> None:
    together = client.predict_tails(["Q0000001", "Q0000002"], "P0", k=2)
    apart = client.predict_tails(["Q0000001", "Q0000002"], ["P0", "P0"], k=2)
    assert together.ids == apart.ids


def test_a_failed_query_raises_where_it_is_read(client: Client) -> None:
    answers = client.predict_tails(["Q0000001", "nobody"], "P0")
    assert len(answers[0]) == 10
    with pytest.raises(UnknownEntity, match="nobody") as caught:
        answers[1]
    assert caught.value.name == "nobody"


def test_nobody_there_is_unreachable_after_a_few_attempts() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with Client(address, timeout_s=20) as client, pytest.raises(Unreachable, match=address):
        client.models()


def test_a_call_waits_for_a_server_that_comes_back(served_toy: Toy, tmp_path: Path) -> None:
    with server(served_toy.path, log=tmp_path / "first") as process:
        port, outcome = str(process.ready["grpc_port"]), list[object]()
        client = Client(Connection(process.address, attempts=5), timeout_s=30)
        assert len(client.models()) == 1
        process.terminate()

    def ask() -> None:
        while not outcome:
            try:
                outcome.append(client.predict_tails("Q0000001", "P0", k=1).ids)
            except Unreachable:
                time.sleep(0.1)

    caller = threading.Thread(target=ask)
    caller.start()
    flags = ("--grpc-port", port)
    with server(served_toy.path, *flags, log=tmp_path / "second"), client:
        caller.join(30)
    assert len(outcome) == 1


def test_a_deadline_of_the_call_wins_over_the_clients(served: ServerProcess) -> None:
    with Client(served.address, timeout_s=30) as client, pytest.raises(DeadlineExceeded):
        client.score(["Q0000001"] * 1024, "P0", "Q0000002", ranks=True, timeout_s=0.001)


def test_a_token_does_not_show(served: ServerProcess) -> None:
    assert "secret" not in repr(Connection(served.address, token="secret-0123456789"))


@pytest.mark.parametrize("given", ["ca", "cert", "key"])
def test_a_certificate_never_goes_unused(given: str) -> None:
    assert Connection("localhost:1", **{given: Path("x.pem")}).secure  # type: ignore[arg-type]
    assert not Connection("localhost:1").secure
