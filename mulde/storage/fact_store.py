"""Facts that came after the training, by name: one SQLite file for each model name.

Each changed fact has one row with its last change: added or removed against the graph that the
model was trained on. ``sequence`` grows with every change, so that a reader asks for what is newer
than what it has; a sequence is never given twice, and neither is the number of a new entity. An
entity whose texts change gets the next number.

``compact`` drops the changes that a new version of the model carries. ``compacted`` is the greatest
sequence that was ever dropped: a reader that had not read it yet reads everything again.

The file is in WAL mode with ``synchronous = FULL``: a batch that ``change`` has returned from
survives a crash of the process and of the machine, and one that was interrupted leaves nothing.
Several processes may open the same file. Each row has a checksum.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mulde.errors import StoreError

VERSION = 2
"""2 added texts of entities and ``counters``; a file of version 1 is brought up to it."""
MOST_FACTS = 1_000_000
"""Changed facts of one model name; beyond it an update of the model is due."""
MOST_ENTITIES = 10_000
"""New entities of one model name."""

_WAIT_S, _RETRY_S = 10.0, 0.005
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    head TEXT NOT NULL, relation TEXT NOT NULL, tail TEXT NOT NULL,
    removed INTEGER NOT NULL, sequence INTEGER NOT NULL, time_s REAL NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (head, relation, tail)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS facts_by_sequence ON facts (sequence);
CREATE TABLE IF NOT EXISTS entities (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS placements (
    model TEXT NOT NULL, id TEXT NOT NULL, sequence INTEGER NOT NULL, vectors BLOB NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (model, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_TEXTS = "label", "description", "types"
_COUNTERS = """
INSERT OR IGNORE INTO counters SELECT 'sequence', ifnull(max(sequence), 0) FROM facts;
INSERT OR IGNORE INTO counters SELECT 'entity', ifnull(max(number), 0) FROM entities;
INSERT OR IGNORE INTO counters VALUES ('compacted', 0);
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


@dataclass(frozen=True)
class NewEntity:
    """An entity that came after the training.

    Attributes:
        id: of the entity.
        label, description: texts; empty for none.
        types: names of its types.
        number: by which a reader asks for later ones; 0 before it is stored.
    """

    id: str
    label: str = ""
    description: str = ""
    types: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class StoredPlacement:
    """The vectors of a new entity in one model.

    Attributes:
        sequence: of the entity's last change when it was placed; later changes make it stale.
        vectors: bytes whose meaning is the model's.
    """

    sequence: int
    vectors: bytes


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
        self._enter_wal_mode()
        self._base.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (version,) = self._base.execute("PRAGMA user_version").fetchone()
            if version not in range(VERSION + 1):
                raise StoreError(self.path, f"expected version {VERSION}, found {version}")
            self._run(_SCHEMA)
            if version < VERSION:
                for name in _TEXTS:
                    column = f"{name} TEXT NOT NULL DEFAULT ''"
                    self._base.execute(f"ALTER TABLE entities ADD COLUMN {column}")
                self._run(_COUNTERS)
            self._base.execute(f"PRAGMA user_version = {VERSION}")

    def _enter_wal_mode(self) -> None:
        """Do so again while others open the same new file: SQLite does not wait for them here."""
        end = time.monotonic() + _WAIT_S
        while True:
            try:
                self._base.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > end:
                    raise
                time.sleep(_RETRY_S)

    def _run(self, statements: str) -> None:
        for statement in statements.split(";"):
            self._base.execute(statement)

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

    def change(
        self, facts: Sequence[Names], *, removed: bool, entities: Sequence[NewEntity] = ()
    ) -> int:
        """Write a batch: all of it, durably, or nothing.

        Args:
            facts: distinct.
            removed: whether they are removed; else they are added.
            entities: those that are new; one that is there already keeps its texts where none are
                given.

        Returns:
            the sequence of the last change.

        Raises:
            StoreError: if the file cannot be written or a limit is reached.
        """
        now = time.time()
        with self._lock, self._told(), self._transaction():
            if entities:
                self._write_entities(entities)
            last = self._count("sequence", len(facts))
            rows = [
                (*fact, removed, number, now, _checksum(fact, removed, number))
                for number, fact in enumerate(facts, last - len(facts) + 1)
            ]
            self._base.executemany("REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._check_limits(last)
            return last

    def _write_entities(self, entities: Sequence[NewEntity]) -> None:
        first = self._count("entity", len(entities)) - len(entities) + 1
        rows = [
            (number, one.id, one.label, one.description, "\n".join(one.types))
            for number, one in enumerate(entities, first)
        ]
        texts = ", ".join(f"{name} = excluded.{name}" for name in _TEXTS)
        given = " || ".join(f"excluded.{name}" for name in _TEXTS)
        self._base.executemany(
            f"INSERT INTO entities (number, id, {', '.join(_TEXTS)}) VALUES (?, ?, ?, ?, ?) "
            f"ON CONFLICT (id) DO UPDATE SET number = excluded.number, {texts} WHERE {given} <> ''",
            rows,
        )

    def _count(self, counter: str, more: int) -> int:
        """Return a counter after it was raised."""
        query = "UPDATE counters SET value = value + ? WHERE name = ? RETURNING value"
        ((value,),) = self._base.execute(query, (more, counter)).fetchall()
        return int(value)

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

    def entities(self, after: int = 0) -> list[NewEntity]:
        """Return the new entities with a number above ``after``, by their number."""
        query = f"SELECT id, {', '.join(_TEXTS)}, number FROM entities WHERE number > ?"
        with self._lock, self._told():
            rows = self._base.execute(f"{query} ORDER BY number", (after,)).fetchall()
        return [
            NewEntity(name, label, description, tuple(types.split("\n")) if types else (), number)
            for name, label, description, types, number in rows
        ]

    def placements(self, model: str) -> dict[str, StoredPlacement]:
        """Return the placements of new entities in a model, by id; damaged ones are left out."""
        query = "SELECT id, sequence, vectors, checksum FROM placements WHERE model = ?"
        with self._lock, self._told():
            rows = self._base.execute(query, (model,)).fetchall()
        return {
            name: StoredPlacement(sequence, vectors)
            for name, sequence, vectors, checksum in rows
            if zlib.crc32(vectors, sequence) == checksum
        }

    def keep_placements(self, model: str, placements: Mapping[str, StoredPlacement]) -> None:
        """Write placements, which a model can compute again, in the place of former ones."""
        rows = [
            (model, name, one.sequence, one.vectors, zlib.crc32(one.vectors, one.sequence))
            for name, one in placements.items()
        ]
        with self._lock, self._told(), self._transaction():
            self._base.executemany("REPLACE INTO placements VALUES (?, ?, ?, ?, ?)", rows)

    @property
    def compacted(self) -> int:
        """The greatest sequence of the changes that were dropped; 0 if none was."""
        query = "SELECT value FROM counters WHERE name = 'compacted'"
        with self._lock, self._told():
            (value,) = self._base.execute(query).fetchone()
        return int(value)

    def compact(self, carried: Sequence[int]) -> None:
        """Drop changes that the model carries, and new entities that no change names any more.

        Args:
            carried: sequences of the changes; of a fact that has changed again since, nothing is
                dropped.
        """
        unnamed = "id NOT IN (SELECT head FROM facts UNION SELECT tail FROM facts)"
        with self._lock, self._told(), self._transaction():
            rows = [(sequence,) for sequence in carried]
            self._base.executemany("DELETE FROM facts WHERE sequence = ?", rows)
            self._base.execute(f"DELETE FROM entities WHERE {unnamed}")
            self._base.execute(f"DELETE FROM placements WHERE {unnamed}")
            latest = "UPDATE counters SET value = max(value, ?) WHERE name = 'compacted'"
            self._base.execute(latest, (max(carried, default=0),))

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
