"""A server that swaps models under load while a bundle is replaced, killed with it; not a test.

``python -m tests.torture.swaps WORK SEED COUNT`` kills COUNT servers and prints what was done.

A repository holds two versions of a model. A publisher replaces the second again and again, by
turns with one of two contents; an administrator loads the one and the other; callers compare every
answer with what its version may say. Then server or publisher, or both, are killed at a random
time. Afterwards the repository opens, and the next server answers from whole versions.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mulde.bundle.bundle import open_bundle
from mulde.client import Client, Connection
from mulde.errors import BundleError, MuldeError, Unreachable
from serving.engine.engine import Engine
from serving.process.main import serve
from serving.process.settings_sources import read_settings
from tests.support.server import eventually
from tests.support.toy import toy_bundle

NAME, ADMIN = "toy", "admin-token-0123456789"
SEEDS = {"1": [1], "2": [2, 3]}
LONGEST_S = 2.0
"""Of a server's life, counted from its fork; it listens after some tenths of that."""
PATIENCE_S = 120.0
"""For the last one, which has to listen on a busy machine too."""


def publish(root: Path, version: str, seed: int) -> None:
    """Put a content in the place of a version."""
    toy_bundle(
        root / NAME / version, entities=200, seed=seed, name=NAME, version=version, overwrite=True
    )


def publish_for_ever(root: Path) -> None:
    """Replace the second version by turns."""
    while True:
        for seed in SEEDS["2"]:
            publish(root, "2", seed)


def truth(stand: Path) -> dict[str, list[list[float]]]:
    """What each version may answer."""
    found: dict[str, list[list[float]]] = {}
    for version, seeds in SEEDS.items():
        for seed in seeds:
            publish(stand / str(seed), version, seed)
            with Engine.open(stand / str(seed) / NAME / version) as engine:
                scores = engine.predict(1, 0, 3, exclude_known=True).scores.tolist()
            found.setdefault(version, []).append(scores)
    return found


def ask(address: str, allowed: dict[str, list[list[float]]]) -> dict[str, int]:
    """Ask and swap until the server is gone; what was asked and swapped.

    Raises:
        AssertionError: for an answer that no version gives.
    """
    count, wrong = {"answers": 0, "swaps": 0, "refused_swaps": 0}, list[object]()

    def call() -> None:
        with Client(Connection(address, token=ADMIN, attempts=1)) as client:
            while True:
                try:
                    answers = client.predict_tails("Q0000001", "P0", k=3)
                except Unreachable:
                    return
                except MuldeError as error:
                    wrong.append(error)
                    return
                count["answers"] += 1
                version = answers.model.rpartition("/")[2]
                if answers.scores.tolist() not in allowed[version]:
                    wrong.append((answers.model, answers.scores))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    with Client(Connection(address, token=ADMIN, attempts=1)) as client:
        while any(caller.is_alive() for caller in callers):
            try:
                client.load_model(NAME, "21"[count["swaps"] % 2])
                count["swaps"] += 1
            except BundleError:  # it was replaced while it was read: what was there before stays
                count["refused_swaps"] += 1
                count["swaps"] += 1
            except Unreachable:
                break
    for caller in callers:
        caller.join()
    assert not wrong, wrong[:3]
    return count


class Life:
    """A server and its callers, in children, until it is killed."""

    def __init__(self, work: Path, allowed: dict[str, list[list[float]]]) -> None:
        self.began = time.monotonic()
        ready, announce = os.pipe()
        told, tell = os.pipe()
        self.server = fork(lambda: _serve(work, announce), ready, told, tell)
        os.close(announce)
        self._callers = fork(lambda: _call(ready, tell, allowed), told)
        os.close(ready)
        os.close(tell)
        self._told = told

    def end(self) -> dict[str, int]:
        """Kill the server; what its callers were told, {} if it never listened.

        Raises:
            AssertionError: if it ended before, or a caller was told something wrong.
        """
        os.kill(self.server, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.server, 0)[1])
        assert status == -signal.SIGKILL, status
        with os.fdopen(self._told) as told:
            text = told.read()
        assert os.waitpid(self._callers, 0)[1] == 0, "a caller was told something wrong"
        return dict(json.loads(text)) if text else {}


def _serve(work: Path, announce: int) -> None:
    os.dup2(announce, 1)
    os.dup2(os.open(work / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    flags: dict[str, dict[str, Any]] = {
        "models": {"dir": work / "models"},
        "server": {"grpc_port": 0, "metrics_port": -1},
        "auth": {"api_key_file": work / "tokens"},
        "log": {"format": "json"},
    }
    serve(read_settings(flags))


def _call(ready: int, tell: int, allowed: dict[str, list[list[float]]]) -> None:
    with os.fdopen(ready) as lines:
        line = lines.readline()
    if line:
        port = json.loads(line)["grpc_port"]
        os.write(tell, json.dumps(ask(f"127.0.0.1:{port}", allowed)).encode())


def fork(work: Callable[[], Any], *closed: int) -> int:
    """Do something in a child, without the descriptors that are not its own; its id."""
    child = os.fork()
    if child == 0:
        try:
            for descriptor in closed:
                os.close(descriptor)
            work()
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    return child


def finish(child: int) -> None:
    """Wait for a child that must succeed."""
    assert os.waitpid(child, 0)[1] == 0


def times_served(work: Path) -> int:
    """How many servers came so far that they listened."""
    log = work / "log"
    return log.read_text("utf-8").count('"serving"') if log.exists() else 0


def torture(work: Path, count: int, generator: np.random.Generator) -> dict[str, int | float]:
    """Kill servers; what was done.

    Raises:
        AssertionError: if the repository does not open, a server does not start, an answer is none
            of its version, or a file is left over.
    """
    root, truths = work / "models", work / "truth.json"
    (work / "tokens").write_text(f"admin {ADMIN}\n")
    finish(fork(lambda: truths.write_text(json.dumps(truth(work / "stand")))))
    for version in SEEDS:
        finish(fork(partial(publish, root, version, SEEDS[version][0])))
    allowed = json.loads(truths.read_text())
    toll: dict[str, int | float] = dict.fromkeys(
        ["kills", "while_it_listened", "publishers_killed"], 0
    )
    toll |= {"answers": 0, "swaps": 0, "refused_swaps": 0}
    publisher = fork(lambda: publish_for_ever(root))
    while toll["kills"] < count:
        life = Life(work, allowed)
        time.sleep(float(generator.uniform(0, LONGEST_S)))
        if generator.random() < 0.5:
            os.kill(publisher, signal.SIGKILL)
            os.waitpid(publisher, 0)
            publisher, toll["publishers_killed"] = 0, toll["publishers_killed"] + 1
        told = life.end()
        toll["kills"] += 1
        toll["while_it_listened"] += bool(told)
        for name, number in told.items():
            toll[name] += number
        if not publisher:
            for version in SEEDS:
                open_bundle(root / NAME / version)
            publisher = fork(lambda: publish_for_ever(root))
    os.kill(publisher, signal.SIGKILL)
    os.waitpid(publisher, 0)
    finish(fork(lambda: publish(root, "2", SEEDS["2"][0])))
    assert sorted(path.name for path in (root / NAME).iterdir()) == sorted(SEEDS)
    before = times_served(work)
    life = Life(work, allowed)
    eventually(lambda: times_served(work) > before, timeout=PATIENCE_S)
    time.sleep(2 * LONGEST_S)
    told = life.end()
    assert told["answers"] > 0
    assert told["refused_swaps"] == 0
    assert "internal error" not in (work / "log").read_text()
    return toll


if __name__ == "__main__":
    place, begun, often = sys.argv[1:]
    print(json.dumps(torture(Path(place), int(often), np.random.default_rng(int(begun)))))
