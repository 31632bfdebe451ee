"""Facts that came after the training, by name: one SQLite file for each model name.

Each changed fact has one row with its last change: added or removed against the graph that the
model was trained on. ``sequence`` grows with every change, so that a reader asks for what is newer
than what it has. New entities are numbered in the order in which they came; a number is never
given twice.

The file is in WAL mode with ``synchronous = FULL``: a batch that ``change`` has returned from
survives a crash of the process and of the machine, and one that was interrupted leaves nothing.
Several processes may open the same file. Each row has a checksum.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mulde.errors import StoreError

VERSION = 1
MOST_FACTS = 1_000_000
"""Changed facts of one model name; beyond it an update of the model is due."""
MOST_ENTITIES = 10_000
"""New entities of one model name."""

_WAIT_S = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    head TEXT NOT NULL, relation TEXT NOT NULL, tail TEXT NOT NULL,
    removed INTEGER NOT NULL, sequence INTEGER NOT NULL, time_s REAL NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (head, relation, tail)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS facts_by_sequence ON facts (sequence);
CREATE TABLE IF NOT EXISTS entities (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
"""

Names = tuple[str, str, str]
"""Ids of head, relation and tail."""


@dataclass(frozen=True)
class Change:
    """The last change of one fact.

    Attributes:
        fact: by id.
        removed: whether it was removed; else it was added.
        sequence: grows with every change of the store.
        time_s: seconds since 1970.
    """

    fact: Names
    removed: bool
    sequence: int
    time_s: float


class FactStore:
    """One file of changes. Threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open a file, or make it with its folder.

        Raises:
            StoreError: if it cannot be opened, is none of ours or is of a newer version.
        """
        self.path = path
        self._lock = threading.Lock()
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._open()

    def _open(self) -> None:
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise StoreError(self.path, f"expected version {VERSION}, found {version}")
        with self._transaction():
            for statement in _SCHEMA.split(";"):
                self._base.execute(statement)
            self._base.execute(f"PRAGMA user_version = {VERSION}")

    def limit_bytes(self, most: int) -> None:
        """Refuse to let the file grow beyond so many bytes, through this opening of it."""
        with self._lock, self._told():
            (size,) = self._base.execute("PRAGMA page_size").fetchone()
            self._base.execute(f"PRAGMA max_page_count = {most // size}")

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    @property
    def generation(self) -> tuple[int, int]:
        """A value that changes with every change, by whichever process; cheap to read."""
        with self._lock, self._told():
            (outside,) = self._base.execute("PRAGMA data_version").fetchone()
            return int(outside), self._base.total_changes

    def change(self, facts: Sequence[Names], *, removed: bool, entities: Sequence[str] = ()) -> int:
        """Write a batch: all of it, durably, or nothing.

        Args:
            facts: distinct.
            removed: whether they are removed; else they are added.
            entities: ids that are new; those that have a number keep it.

        Returns:
            the sequence of the last change.

        Raises:
            StoreError: if the file cannot be written or a limit is reached.
        """
        now = time.time()
        with self._lock, self._told(), self._transaction():
            for entity in entities:
                self._base.execute("INSERT OR IGNORE INTO entities (id) VALUES (?)", (entity,))
            (first,) = self._base.execute("SELECT ifnull(max(sequence), 0) FROM facts").fetchone()
            rows = [
                (*fact, removed, number, now, _checksum(fact, removed, number))
                for number, fact in enumerate(facts, first + 1)
            ]
            self._base.executemany("REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            last = int(first) + len(rows)
            self._check_limits(last)
            return last

    def _check_limits(self, last: int) -> None:
        """Refuse too many rows; facts are counted where their changes alone are so many."""
        limits = {"entities": MOST_ENTITIES} | ({"facts": MOST_FACTS} if last > MOST_FACTS else {})
        for table, limit in limits.items():
            (count,) = self._base.execute(f"SELECT count(*) FROM {table}").fetchone()
            if count > limit:
                problem = f"expected at most {limit} changed {table}, found {count}"
                raise StoreError(self.path, f"{problem}; update the model with them first")

    def changes(self, after: int = 0, most: int = MOST_FACTS) -> list[Change]:
        """Return the changes after a sequence, at most so many, in their order.

        Raises:
            StoreError: if the file cannot be read or a row is damaged.
        """
        query = "SELECT * FROM facts WHERE sequence > ? ORDER BY sequence LIMIT ?"
        with self._lock, self._told():
            rows = self._base.execute(query, (after, most)).fetchall()
        changes = []
        for head, relation, tail, removed, sequence, time_s, checksum in rows:
            fact = head, relation, tail
            if _checksum(fact, removed, sequence) != checksum:
                raise StoreError(self.path, f"the row of change {sequence} is damaged")
            changes.append(Change(fact, bool(removed), sequence, time_s))
        return changes

    def entities(self, after: int = 0) -> dict[str, int]:
        """Return new entities with a number above ``after``: id -> number, from 1."""
        with self._lock, self._told():
            rows = self._base.execute(
                "SELECT id, number FROM entities WHERE number > ? ORDER BY number", (after,)
            )
            return dict(rows.fetchall())

    def forget(self, until: int) -> None:
        """Drop the changes up to a sequence: the model has been trained with them."""
        with self._lock, self._told(), self._transaction():
            self._base.execute("DELETE FROM facts WHERE sequence <= ?", (until,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            if self._base.in_transaction:  # a full disk may have ended it
                self._base.execute("ROLLBACK")
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn errors of SQLite and of the disk into ours."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(self.path, f"cannot be used: {error}") from error


def _checksum(fact: Names, removed: bool, sequence: int) -> int:
    return zlib.crc32("\0".join((*fact, str(int(removed)), str(sequence))).encode())
