"""A long time of everything at once: no answer is wrong, lost, doubled or mixed; nothing grows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mulde.client import Connection
from tests.serving.test_server_models import ADMIN
from tests.support.memory import mapped
from tests.support.server import ServerProcess, eventually, server
from tests.support.toy import toy_bundle
from tests.torture.ledger import CurrentVersion, Disturbances, Ledger
from tests.torture.questions import ENTITIES, RELATIONS, Question, answers, questions
from tests.torture.siege import descriptors
from tests.torture.soak import Caller, Killer, Swapper, Threads, Watch
from tests.torture.tools import Tally

CALLERS = 5
MOST_MORE_DESCRIPTORS = 8
LONG_S = 60 * float(os.environ.get("MULDE_SOAK_MINUTES", "20"))
LENGTHS = [  # and MiB by which a process may grow; a short time is mostly its warming up
    (15.0, 96),
    pytest.param(LONG_S, 32, marks=[pytest.mark.torture, pytest.mark.timeout(2 * LONG_S + 300)]),
]


@dataclass(frozen=True)
class Place:
    """A server of two workers, and what is true of its two versions.

    Attributes:
        root: see ``Swapper``.
        truth: version -> answers to ``questions``, from a server that was asked nothing else.
    """

    root: Path
    process: ServerProcess
    questions: list[Question]
    truth: dict[str, list[bytes]]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    asked = questions(np.random.default_rng(1), each=4)
    home = tmp_path / "repository/toy"
    home.mkdir(parents=True)
    toy_bundle(home / "1", entities=ENTITIES, relations=RELATIONS, seed=1, version="1")
    toy_bundle(tmp_path / "2", entities=ENTITIES + 50, relations=RELATIONS + 1, seed=2, version="2")
    truth = {}
    for folder in (home / "1", tmp_path / "2"):
        with server(folder, log=tmp_path / "alone") as alone:
            version, truth[folder.name] = answers(alone.address, asked)
            assert version == folder.name
    (tmp_path / "tokens").write_text(f"admin {ADMIN}\n")
    flags = ("--workers", "2", "--api-key-file", str(tmp_path / "tokens"))
    more = {"MULDE_SERVER__HEARTBEAT_TIMEOUT_S": "3"}
    with server(tmp_path / "repository", *flags, log=tmp_path / "log", env=more) as process:
        yield Place(tmp_path, process, asked, truth)


@pytest.mark.parametrize(("seconds", "most_grown_mib"), LENGTHS)
def test_no_answer_is_wrong_lost_doubled_or_mixed_and_nothing_grows(
    place: Place,
    seconds: float,
    most_grown_mib: float,
    generator: np.random.Generator,
    tally: Tally,
) -> None:
    process, current, kills = place.process, CurrentVersion("1"), Disturbances()
    target = Connection(process.address, token=ADMIN)
    ledger = Ledger(place.truth, current, kills)
    swapper, killer = Swapper(target, place.root, current), Killer(process, kills)
    watched = (process.process.pid, killer.veteran)
    watch = Watch(process, watched, ledger.pauses)
    before = [descriptors(pid) for pid in watched]
    threads = Threads()
    for random in generator.spawn(CALLERS):
        threads.add(Caller(target, place.questions, ledger, current, random).step)
    threads.add(swapper.step, pause_s=0.5)
    threads.add(killer.step, pause_s=min(seconds / 5, 12.0))
    threads.add(watch.step)
    with (
        threads,
        suppress(KeyboardInterrupt),
    ):  # an interrupt ends the run, and its figures are printed
        while watch.seconds < seconds and not threads.over.wait(0.2):
            pass
    eventually(lambda: all(map(few, watched, before)))
    tally(
        "soak",
        seconds=watch.seconds,
        calls=ledger.calls,
        right=sum(ledger.versions.values()),
        refused=ledger.ends["RESOURCE_EXHAUSTED"],
        cancelled=ledger.ends["CANCELLED"],
        late=ledger.ends["DEADLINE_EXCEEDED"],
        broken=ledger.ends["UNAVAILABLE"],
        swaps=swapper.swaps,
        kills=killer.kills,
        grown_mib=watch.grown_mib(),
        resident_mib=watch.resident_mib,
    )
    assert ledger.wrong == []
    assert min(ledger.versions["1"], ledger.versions["2"]) > 0
    assert swapper.swaps > 0
    assert killer.kills > 1  # one was killed, one frozen
    assert counted(process) <= ledger.calls  # none was answered twice
    assert watch.grown_mib() < most_grown_mib
    gone = {"1": "2", "2": "repository/toy/1"}[current.state[0]]
    assert mapped(killer.veteran, place.root / gone) == {}


def few(pid: int, before: int) -> bool:
    """Whether a process has about as many descriptors as before."""
    return descriptors(pid) <= before + MOST_MORE_DESCRIPTORS


def counted(process: ServerProcess) -> float:
    """Calls of callers that the workers counted, those of the killed included."""
    methods = {one.path.rpartition("/")[2] for one in questions(np.random.default_rng(1), each=1)}
    return sum(process.metric("mulde_requests_total", method=method) for method in methods)
