"""The SQLite file of a fact store: its tables, and transactions on it.

The file is in WAL mode with ``synchronous = FULL``: what a transaction has written survives a crash
of the process and of the machine, and one that was interrupted leaves nothing. Several processes
may open the same file.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mulde.errors import StoreError

VERSION = 2
"""2 added texts of entities and ``counters``; a file of version 1 is brought up to it."""
TEXTS = "label", "description", "types"
"""Columns of an entity that are empty where it has none."""

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
_COUNTERS = """
INSERT OR IGNORE INTO counters SELECT 'sequence', ifnull(max(sequence), 0) FROM facts;
INSERT OR IGNORE INTO counters SELECT 'entity', ifnull(max(number), 0) FROM entities;
INSERT OR IGNORE INTO counters VALUES ('compacted', 0);
"""


class FactDatabase:
    """One open file. Threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open a file, or make it with its folder.

        Raises:
            StoreError: if it cannot be opened, is none of ours or is of a newer version.
        """
        self.path = path
        self._lock = threading.Lock()
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
        self._enter_wal_mode()
        with self.reading() as base:
            base.execute("PRAGMA synchronous = FULL")
        with self.writing() as base:
            self._bring_up_to_date(base)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries; errors of SQLite and of the disk become ``StoreError``."""
        with self._lock, self._errors():
            yield self._base

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection in a transaction: all of it is written, or nothing."""
        with self.reading() as base:
            base.execute("BEGIN IMMEDIATE")
            try:
                yield base
                base.execute("COMMIT")
            except BaseException:
                if base.in_transaction:  # a full disk may have ended it
                    base.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(self.path, f"cannot be used: {error}") from error

    def _enter_wal_mode(self) -> None:
        """Do so again while others open the same new file: SQLite does not wait for them here."""
        end = time.monotonic() + _WAIT_S
        while True:
            try:
                with self.reading() as base:
                    base.execute("PRAGMA journal_mode = WAL")
                return
            except StoreError as error:
                if not _is_busy(error.__cause__) or time.monotonic() > end:
                    raise
                time.sleep(_RETRY_S)

    def _bring_up_to_date(self, base: sqlite3.Connection) -> None:
        """Make the tables of a new file, or add what its version lacks."""
        (version,) = base.execute("PRAGMA user_version").fetchone()
        if version not in range(VERSION + 1):
            raise StoreError(self.path, f"expected version {VERSION}, found {version}")
        _run(base, _SCHEMA)
        if version < VERSION:
            for name in TEXTS:
                base.execute(f"ALTER TABLE entities ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
            _run(base, _COUNTERS)
        base.execute(f"PRAGMA user_version = {VERSION}")


def _is_busy(error: BaseException | None) -> bool:
    return (
        isinstance(error, sqlite3.OperationalError)
        and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    )


def _run(base: sqlite3.Connection, statements: str) -> None:
    """``executescript`` would end the transaction."""
    for statement in statements.split(";"):
        base.execute(statement)
