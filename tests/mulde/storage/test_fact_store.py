"""The store of facts: what is written lasts, whole, whatever process is killed meanwhile."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mulde.errors import StoreError
from mulde.storage.fact_records import Names, NewEntity
from mulde.storage.fact_store import MOST_ENTITIES, FactStore

ROOT = Path(__file__).parents[3]
BATCH = 50
KILLS = int(os.environ.get("MULDE_FACT_KILLS", "6"))

# Writes batches of facts that name their batch, and says of each when it is durable.
WRITER = f"""
import sys
from pathlib import Path
from mulde.storage.fact_records import NewEntity
from mulde.storage.fact_store import FactStore
store, first = FactStore(Path(sys.argv[1])), int(sys.argv[2])
for number in range(first, first + 10_000):
    facts = [(f"h{{number}}", "r", f"t{{place}}") for place in range({BATCH})]
    store.change(facts, removed=False, entities=[NewEntity(f"h{{number}}")])
    print(number, flush=True)
"""


def fact(number: int) -> Names:
    return f"h{number}", "r", f"t{number}"


def new(*ids: str) -> list[NewEntity]:
    return [NewEntity(name) for name in ids]


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """Let this process write no byte of a file beyond ``count``, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(store: FactStore) -> list[str]:
    return [one.id for one in store.entities()]


def test_a_second_opening_reads_what_was_written(tmp_path: Path) -> None:
    one, other = FactStore(tmp_path / "f"), FactStore(tmp_path / "f")
    before = other.generation
    last = one.change([fact(1), fact(2)], removed=False, entities=new("h1", "h2"))
    assert other.generation != before
    assert [(c.fact, c.removed) for c in other.changes()] == [(fact(1), False), (fact(2), False)]
    assert names(other) == ["h1", "h2"]
    other.change([fact(1)], removed=True, entities=new("h2", "h3"))
    assert [(c.fact, c.removed) for c in one.changes(last)] == [(fact(1), True)]
    assert [c.fact for c in one.changes()] == [fact(2), fact(1)]
    assert names(one) == ["h1", "h2", "h3"]


def test_what_a_model_carries_is_dropped_and_no_number_is_given_twice(tmp_path: Path) -> None:
    one, other = FactStore(tmp_path / "f"), FactStore(tmp_path / "f")
    last = one.change([fact(1), fact(2)], removed=False, entities=new("h1", "h2"))
    other.change([fact(1)], removed=True)
    before = other.generation
    assert one.compacted == 0
    one.compact([last - 1, last])  # fact 1 has changed since
    assert other.generation != before
    assert other.compacted == last
    assert [(c.fact, c.removed) for c in other.changes()] == [(fact(1), True)]
    assert names(other) == ["h1"]
    one.compact([change.sequence for change in one.changes()])
    assert (one.changes(), one.entities()) == ([], [])
    assert one.change([fact(3)], removed=False, entities=new("h3")) == last + 2
    assert one.entities()[0].number > 2


def test_texts_of_an_entity_are_kept_until_others_are_given(tmp_path: Path) -> None:
    store = FactStore(tmp_path / "f")
    comet = NewEntity("comet", "Halley", "A comet.", ("body", "visitor"))
    store.change([("comet", "r", "sun")], removed=False, entities=[comet])
    first = store.entities()[0].number
    store.change([("comet", "r", "moon")], removed=False, entities=new("comet"))
    assert store.entities() == [replace(comet, number=first)]
    store.change([("comet", "r", "earth")], removed=False, entities=[replace(comet, label="1P")])
    (later,) = store.entities(first)
    assert (later.label, later.types) == ("1P", ("body", "visitor"))


def test_a_file_of_version_1_is_read_and_continued(tmp_path: Path) -> None:
    FactStore(tmp_path / "f").change([fact(1)], removed=False, entities=new("h1"))
    with sqlite3.connect(tmp_path / "f") as base:
        base.execute("DROP TABLE counters")
        for column in ("label", "description", "types"):
            base.execute(f"ALTER TABLE entities DROP COLUMN {column}")
        base.execute("PRAGMA user_version = 1")
    store = FactStore(tmp_path / "f")
    assert store.change([fact(2)], removed=False, entities=new("h2")) == 2
    assert [c.fact for c in store.changes()] == [fact(1), fact(2)]
    assert names(store) == ["h1", "h2"]


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    def write(first: int) -> None:
        store = FactStore(tmp_path / "f")
        for number in range(first, first + 20):
            store.change([fact(number)], removed=False, entities=new(f"h{number}"))

    threads = [threading.Thread(target=write, args=(100 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = FactStore(tmp_path / "f")
    changes = store.changes()
    assert {c.fact for c in changes} == {fact(100 * n + i) for n in range(3) for i in range(20)}
    assert [c.sequence for c in changes] == list(range(1, 61))
    assert [one.number for one in store.entities()] == list(range(1, 61))


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    """One of some hundred openings found the database locked before."""

    def open_it(barrier: threading.Barrier, path: Path) -> None:
        barrier.wait()
        FactStore(path).close()

    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            barrier = threading.Barrier(8)
            opened = [pool.submit(open_it, barrier, tmp_path / f"f{number}") for _ in range(8)]
            assert [one.result() for one in opened] == [None] * 8


def test_a_damaged_row_is_refused(tmp_path: Path) -> None:
    FactStore(tmp_path / "f").change([fact(1), fact(2)], removed=False)
    with sqlite3.connect(tmp_path / "f") as base:
        base.execute("UPDATE facts SET tail = 'other' WHERE sequence = 2")
    with pytest.raises(StoreError, match="change 2 is damaged"):
        FactStore(tmp_path / "f").changes()


def test_a_foreign_file_and_a_newer_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, " * 100)
    with pytest.raises(StoreError, match="cannot be used: file is not a database"):
        FactStore(tmp_path / "text")
    with sqlite3.connect(tmp_path / "newer") as base:
        base.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match="expected version 2, found 9"):
        FactStore(tmp_path / "newer")
    with pytest.raises(StoreError, match="cannot be used"):
        FactStore(tmp_path / "text" / "below")


def test_a_batch_beyond_the_limit_changes_nothing(tmp_path: Path) -> None:
    store = FactStore(tmp_path / "f")
    store.change([fact(0)], removed=False, entities=new("h0"))
    many = new(*(f"e{number}" for number in range(MOST_ENTITIES)))
    with pytest.raises(StoreError, match=r"at most 10000 changed entities, found 10001"):
        store.change([fact(1)], removed=False, entities=many)
    assert [c.fact for c in store.changes()] == [fact(0)]
    assert names(store) == ["h0"]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    store = FactStore(tmp_path / "f")
    store.change([fact(0)], removed=False)
    with files_of_at_most(64 << 10), pytest.raises(StoreError, match="cannot be used"):
        store.change([fact(number) for number in range(5000)], removed=False)
    assert [c.fact for c in store.changes()] == [fact(0)]
    store.change([fact(1)], removed=False)
    assert [c.fact for c in FactStore(tmp_path / "f").changes()] == [fact(0), fact(1)]


def test_what_was_told_survives_kill_9_and_no_batch_is_halved(tmp_path: Path) -> None:
    rng, path, told = np.random.default_rng(5), tmp_path / "f", -1
    for _ in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(path), str(told + 2)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as writer:
            assert writer.stdout is not None
            first = int(writer.stdout.readline())
            time.sleep(rng.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            seen = [first, *map(int, writer.stdout.read().split())]
        store = FactStore(path)
        facts = [change.fact for change in store.changes()]
        counts = {head: 0 for head, _, _ in facts}
        for head, _, _ in facts:
            counts[head] += 1
        assert set(counts.values()) == {BATCH}
        assert {f"h{number}" for number in seen} <= counts.keys()
        assert set(names(store)) == counts.keys()
        told = max(int(head[1:]) for head in counts)
        store.close()


# Adds batches and drops those with an even number, as a model that carries these would have it.
COMPACTER = (
    WRITER
    + """
    if number % 5 == 0:
        even = [c.sequence for c in store.changes() if int(c.fact[0][1:]) % 2 == 0]
        store.compact(even)
"""
)


def test_kill_9_while_changes_are_dropped_loses_and_doubles_nothing(tmp_path: Path) -> None:
    rng, path, first = np.random.default_rng(6), tmp_path / "f", 1
    odd: set[str] = set()
    for _ in range(KILLS):
        command = [sys.executable, "-c", COMPACTER, str(path), str(first)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as writer:
            assert writer.stdout is not None
            told = [int(writer.stdout.readline())]
            time.sleep(rng.uniform(0.0, 0.1))
            writer.send_signal(signal.SIGKILL)
            told += map(int, writer.stdout.read().split())
        odd |= {f"h{number}" for number in told if number % 2}
        store = FactStore(path)
        changes = store.changes()
        counts = Counter(change.fact[0] for change in changes)
        assert set(counts.values()) == {BATCH}
        assert odd <= counts.keys()
        assert set(names(store)) == counts.keys()
        assert len({change.fact for change in changes}) == len(changes)
        first = max(*told, *(int(head[1:]) for head in counts)) + 1
        store.close()
