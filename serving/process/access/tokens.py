"""Tokens of callers: a file, read again when it changes.

Each line is ``ROLE TOKEN`` or ``ROLE TOKEN UNTIL``: the role is ``read`` or ``admin``, UNTIL a day
or time in ISO 8601, in UTC unless it says otherwise, from which on the token is refused. Empty
lines and lines with # are skipped. A token that leaves the file is refused within a second. While
the file cannot be used, the former tokens stay valid for a limited time, and then none is.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from mulde.errors import ConfigError
from serving.process.access.file_watcher import FileWatcher

Role = Literal["read", "admin"]

_LEAST_TOKEN = 16
_FORM = f"'read TOKEN' or 'admin TOKEN', at least {_LEAST_TOKEN} characters, and perhaps its end"


@dataclass(frozen=True)
class KnownToken:
    """What is kept of a line; the token itself is not."""

    digest: bytes
    role: Role
    until_s: float

    @property
    def name(self) -> str:
        """What the log calls it: its role and the first letters of its SHA-256."""
        return f"{self.role}-{self.digest.hex()[:8]}"


class Tokens:
    """The role of each token. Threads may share it."""

    def __init__(
        self,
        path: Path,
        failed: Callable[[ConfigError], None] = lambda error: None,
        *,
        keep_s: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read the file.

        Args:
            path: the file.
            failed: told of a change that cannot be used.
            keep_s: how long the former tokens stay valid then.
            clock: gives seconds since 1970.

        Raises:
            ConfigError: naming the file and the line, never the token.
        """
        self._known = FileWatcher([path], lambda: _read(path), failed)
        self._clock = clock
        self.keep_s = keep_s

    @property
    def trouble(self) -> str:
        """What is wrong with the file; empty if nothing is. Reads the file if it changed."""
        self._known.get()
        if not self._known.failing_s:
            return ""
        former = f"former tokens end within {self.keep_s:g} s"
        then = "no token is accepted" if self.has_ended else former
        return f"the token file cannot be used, {then}"

    @property
    def has_ended(self) -> bool:
        """Whether no token is accepted, since the file cannot be used for too long."""
        return self._known.failing_s > self.keep_s

    def role(self, token: str) -> Role | None:
        """Return the role of a token; None if it is unknown, or has ended."""
        known = self.find(token)
        return None if known is None else known.role

    def find(self, token: str) -> KnownToken | None:
        """Return what is known of a token; None if it is unknown, or has ended.

        Every token of the file is compared, each in constant time, so that the time tells nothing.
        """
        digest, now = sha256(token.encode()).digest(), self._clock()
        found: KnownToken | None = None
        tokens = self._known.get()
        for known in [] if self.has_ended else tokens:
            if hmac.compare_digest(known.digest, digest) and now < known.until_s:
                found = known
        return found


def _read(path: Path) -> list[KnownToken]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError("auth.api_key_file", "a readable file", str(path)) from error
    known = [
        _known(f"{path}:{number}", words)
        for number, line in enumerate(lines, 1)
        if (words := line.split()) and not words[0].startswith("#")
    ]
    if not known:
        raise ConfigError(str(path), "at least one token", "none")
    return known


def _known(where: str, words: list[str]) -> KnownToken:
    """A line of the file; what is wrong with it is not told, for it may hold a token."""
    role = next((role for role in get_args(Role) if role == words[0]), None)
    if role is None or len(words) not in (2, 3) or len(words[1]) < _LEAST_TOKEN:
        raise ConfigError(where, _FORM, "something else")
    until_s = _seconds(where, words[2]) if len(words) == 3 else math.inf
    return KnownToken(sha256(words[1].encode()).digest(), role, until_s)


def _seconds(where: str, word: str) -> float:
    try:
        until = datetime.fromisoformat(word)
    except ValueError:
        raise ConfigError(where, _FORM, "a third word that is no day or time") from None
    return (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
