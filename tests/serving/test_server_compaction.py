"""A new version takes over: what it carries leaves the store of facts, and nothing else does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from mulde.client import Client
from tests.support.server import eventually, server
from tests.support.toy import Toy, toy_bundle

ADMIN = "admin-token-0123456789"
KILLS = int(os.environ.get("MULDE_COMPACTION_KILLS", "3"))

Fact = tuple[str, str, str]
CARRIED: Fact = ("Q0000300", "P1", "Q0000004")


def flags(folder: Path) -> list[str]:
    tokens = folder / "tokens"
    tokens.write_text(f"admin {ADMIN}\n")
    return ["--api-key-file", str(tokens), "--state", str(folder / "state"), "--workers", "2"]


def facts_of(toy: Toy) -> set[Fact]:
    return {(f"Q{h:07d}", f"P{r}", f"Q{t:07d}") for h, r, t in toy.triples.tolist()}


class Versions:
    """Two versions of one model; the second waits outside the repository.

    Attributes:
        root: the model repository.
        carried: facts that the second alone has, one of them of an entity that the first lacks.
        removed: facts that the first alone has.
        newer: facts that neither has.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self._waiting = folder / "models", folder / "waiting"
        one = toy_bundle(self.root / "own" / "1", entities=300, relations=4, name="own")
        two = toy_bundle(self._waiting, entities=301, relations=4, name="own", version="2", seed=1)
        first, second = facts_of(one), facts_of(two)
        fresh = sorted(fact for fact in second - first if "Q0000300" in fact)
        self.carried = [*fresh, *sorted(second - first - set(fresh))[:5]]
        self.removed = sorted(first - second)[:5]
        rest = ((f"Q{row:07d}", "P2", "Q0000007") for row in range(300))
        self.newer = [fact for fact in rest if fact not in first | second][:5]

    def publish(self) -> None:
        self._waiting.rename(self.root / "own" / "2")


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    (tmp_path / "models" / "own").mkdir(parents=True)
    return Versions(tmp_path)


def change(client: Client, versions: Versions) -> None:
    for fact in versions.carried:
        client.add_facts(*fact, new_entities=True)
    assert client.remove_facts(*columns(versions.removed)).removed == 5
    assert client.add_facts(*columns(versions.newer)).added == 5


def columns(facts: list[Fact]) -> tuple[list[str], list[str], list[str]]:
    heads, relations, tails = (list(column) for column in zip(*facts, strict=True))
    return heads, relations, tails


def check_known(client: Client, versions: Versions) -> None:
    for facts, expected in (
        (versions.carried, True),
        (versions.newer, True),
        (versions.removed, False),
    ):
        scores = client.score(*columns(facts))
        assert scores.known is not None
        assert scores.known.tolist() == [expected] * len(facts)


def stored(client: Client) -> list[tuple[Fact, bool]]:
    return [((c.head, c.relation, c.tail), c.removed) for c in client.facts()]


def test_what_the_new_version_carries_leaves_the_store(versions: Versions, tmp_path: Path) -> None:
    assert any("Q0000300" in fact for fact in versions.carried)
    rest = [(fact, False) for fact in versions.newer]
    with (
        server(versions.root, *flags(tmp_path), log=tmp_path / "one") as process,
        Client(process.address, token=ADMIN) as client,
    ):
        change(client, versions)
        check_known(client, versions)
        versions.publish()
        client.load_model("own", "2")
        check_known(client, versions)
        assert len(stored(client)) > len(rest)  # the first version is still served
        client.unload_model("own", "1")
        eventually(lambda: stored(client) == rest)
        check_known(client, versions)
        # A fact that the new version carries can be removed afterwards, and added again.
        assert client.remove_facts(*versions.carried[0]).removed == 1
        assert stored(client) == [*rest, (versions.carried[0], True)]
        assert client.add_facts(*versions.carried[0]).added == 1
    with (
        server(versions.root, *flags(tmp_path), log=tmp_path / "two") as process,
        Client(process.address, token=ADMIN) as client,
    ):
        check_known(client, versions)
        eventually(lambda: stored(client) == rest)


@pytest.mark.parametrize("seed", range(KILLS))
def test_kill_9_during_a_swap_loses_and_doubles_nothing(
    seed: int, versions: Versions, tmp_path: Path
) -> None:
    with server(versions.root, *flags(tmp_path), log=tmp_path / "one") as process:
        children = process.children()
        with Client(process.address, token=ADMIN) as client:
            change(client, versions)
            versions.publish()
            client.load_model("own", "2")
            client.unload_model("own", "1")
            time.sleep(np.random.default_rng(seed).uniform(0.0, 0.2))
            process.process.kill()
            for child in children:
                os.kill(child, 9)
        process.process.wait()
    with (
        server(versions.root, *flags(tmp_path), log=tmp_path / "two") as process,
        Client(process.address, token=ADMIN) as client,
    ):
        check_known(client, versions)
        eventually(lambda: stored(client) == [(fact, False) for fact in versions.newer])
        check_known(client, versions)
