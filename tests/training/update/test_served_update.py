"""Facts reach a server that answers all the while: first placed, then trained by an update."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import torch

from mulde.client import Client, Connection
from mulde.commands.learning.update import stored_changes
from tests.serving.test_server_models import ADMIN, tokens
from tests.support.server import ServerProcess, eventually, server
from tests.training.update.conftest import Model
from training.update.continued import UpdateSettings
from training.update.update import GraphChanges, update

CALLERS, CONNECTIONS = 3, 16
NEW = [("fresh", "next", "e03"), ("e02", "next", "fresh"), ("fresh", "skip", "e08")]


class Load:
    """Callers that ask for a known entity until they are stopped, each over connections of its own.

    Attributes:
        heard: the models that answered.
        failures: of any call.
    """

    def __init__(self, process: ServerProcess) -> None:
        self._process, self._stop = process, threading.Event()
        self.heard: set[str] = set()
        self.failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                self.heard |= told_by(self._process, 1, "e03")
            except Exception as error:  # told at the end
                self.failures.append(error)


def told_by(process: ServerProcess, connections: int, entity: str) -> set[str]:
    """The models that answer about an entity, or the error, over several connections."""
    found = set()
    for _ in range(connections):
        with Client(Connection(process.address, token=ADMIN, attempts=5)) as client:
            answers = client.predict_tails([entity], "next", k=3)
            error = answers.errors.get(0)
            found.add(answers.model if error is None else type(error).__name__)
    return found


def test_an_entity_that_was_added_is_answered_for_after_the_swap_and_no_call_fails(
    model: Model, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    shutil.copytree(model.bundle, root / "tiny" / "1")
    state = tmp_path / "state"
    flags = ("--api-key-file", str(tokens(tmp_path)), "--workers", "2", "--state", str(state))
    with server(root, *flags, log=tmp_path / "log") as process, Load(process) as load:
        before = told_by(process, CONNECTIONS, "fresh")
        with Client(Connection(process.address, token=ADMIN, attempts=5)) as client:
            added = client.add_facts(
                *map(list, zip(*NEW, strict=True)),
                new_entities=True,
                labels={"fresh": "A fresh one"},
                descriptions={"fresh": "It came late."},
                types={"fresh": ["late"]},
            )
        eventually(lambda: told_by(process, CONNECTIONS, "fresh") == {"tiny/1"})
        update(
            root / "tiny" / "1",
            GraphChanges(*stored_changes(state / "tiny.facts.sqlite"), absent=True),
            root / "tiny" / "2",
            tmp_path / "run",
            data=model.data,
            checkpoint=model.checkpoint,
            settings=UpdateSettings(epochs=2, candidates=8),
            device=torch.device("cpu"),
        )
        during = told_by(process, CONNECTIONS, "fresh")
        with Client(Connection(process.address, token=ADMIN, attempts=5)) as client:
            assert client.reload_model("tiny").changed
            assert client.predict_tails("A fresh one", "next", k=1)[0]
            assert client.predict_heads("next", "e00", k=1, types=["late"])[0][0].id == "fresh"
            eventually(lambda: client.facts() == [])  # the new version has them
        assert "It came late." in (tmp_path / "run" / "graph" / "labels.tsv").read_text()
        after = told_by(process, CONNECTIONS, "fresh")
        eventually(lambda: "tiny/2" in load.heard)
    assert before == {"UnknownEntity"}
    assert (added.added, list(added.new_entities)) == (len(NEW), ["fresh"])
    assert during == {"tiny/1"}
    assert after == {"tiny/2"}
    assert load.heard == {"tiny/1", "tiny/2"}
    assert not load.failures
