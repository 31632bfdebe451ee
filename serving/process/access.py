"""Who may call what, and how many at once.

The token file has one ``ROLE TOKEN`` a line, the role being ``read`` or ``admin``; empty lines and
lines with # are skipped. It is read again when it changes. A caller sends
``authorization: Bearer TOKEN``. Without a token file everybody may read and nobody administers.
"""

from __future__ import annotations

import hmac
import threading
import time
from hashlib import sha256
from pathlib import Path

from mulde.errors import (
    ConfigError,
    Draining,
    Forbidden,
    Overloaded,
    Starting,
    Unauthenticated,
)
from serving.process.files import Watched

ADMIN_METHODS = frozenset(
    f"mulde.v1.ModelService.{name}" for name in ("LoadModel", "ReloadModel", "UnloadModel")
)
_ROLES = ("read", "admin")
_LEAST_TOKEN = 16


class Tokens:
    """The tokens of a file, as digests; the tokens themselves are not kept."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: naming the file and the line, never the token.
        """
        self._roles = Watched([path], lambda: _read(path))

    def role(self, token: str) -> str | None:
        """The role of a token; None if it is not known.

        Every known token is compared, each in constant time, so that the time tells nothing.
        """
        digest, found = sha256(token.encode()).digest(), None
        for known, role in self._roles.get():
            if hmac.compare_digest(known, digest):
                found = role
        return found


def _read(path: Path) -> list[tuple[bytes, str]]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError("auth.api_key_file", "a readable file", str(path)) from error
    tokens = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] not in _ROLES or len(words[1]) < _LEAST_TOKEN:
            expected = f"'read TOKEN' or 'admin TOKEN' with at least {_LEAST_TOKEN} characters"
            raise ConfigError(f"{path}:{number}", expected, "something else")
        tokens.append((sha256(words[1].encode()).digest(), words[0]))
    if not tokens:
        raise ConfigError(str(path), "at least one token", "none")
    return tokens


class Gate:
    """Lets calls through; see ``service.Gate``."""

    def __init__(
        self,
        tokens: Tokens | None,
        max_concurrent: int,
    ) -> None:
        """Closed until ``open``.

        Args:
            tokens: who is known; None for everybody.
            max_concurrent: calls at once.
        """
        self._tokens, self._max = tokens, max_concurrent
        self._lock = threading.Lock()
        self._inside = 0
        self._closed: type[Starting | Draining] | None = Starting

    def open(self) -> None:
        """The models are loaded."""
        self._closed = None

    def drain(self) -> None:
        """No new calls; those that are inside end."""
        self._closed = Draining

    @property
    def inside(self) -> int:
        """Calls that are being answered."""
        return self._inside

    @property
    def is_open(self) -> bool:
        """Whether calls are let through."""
        return self._closed is None

    def check(self, method: str, metadata: dict[str, str | bytes]) -> None:
        """See ``service.Gate.check``."""
        if self._closed is not None:
            raise self._closed
        self._authorise(method, metadata)
        with self._lock:
            if self._inside >= self._max:
                raise Overloaded(self._max)
            self._inside += 1

    def leave(self, method: str) -> None:
        """See ``service.Gate.leave``."""
        with self._lock:
            self._inside -= 1

    def _authorise(self, method: str, metadata: dict[str, str | bytes]) -> None:
        if self._tokens is None:
            if method in ADMIN_METHODS:
                raise Forbidden(method)
            return
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        role = self._tokens.role(token.strip()) if scheme.lower() == "bearer" else None
        if role is None:
            raise Unauthenticated
        if method in ADMIN_METHODS and role != "admin":
            raise Forbidden(method)

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Whether every call ended in time."""
        end = time.monotonic() + timeout_s
        while self._inside and time.monotonic() < end:
            time.sleep(0.01)
        return self._inside == 0
