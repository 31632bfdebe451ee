"""Who may call what, and when.

A caller sends ``authorization: Bearer TOKEN``; ``tokens.py`` says what role that has. Without a
token file everybody may read and nobody administers.
"""

from __future__ import annotations

import time

from mulde.errors import (
    Draining,
    Forbidden,
    Starting,
    Unauthenticated,
)
from serving.process.admission import Room
from serving.process.tokens import Tokens

ADMIN_METHODS = frozenset(
    f"mulde.v1.ModelService.{name}" for name in ("LoadModel", "ReloadModel", "UnloadModel")
)


class AuthInterceptor:
    """Lets calls through; see ``service.AuthInterceptor``."""

    def __init__(self, tokens: Tokens | None, room: Room) -> None:
        """Closed until ``open``.

        Args:
            tokens: who is known; None for everybody.
            room: for calls at once.
        """
        self._tokens, self._room = tokens, room
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
        return self._room.inside

    def is_full(self, method: str) -> bool:
        """See ``entrance.AuthInterceptor.is_full``."""
        return self._room.is_full(method)

    @property
    def is_starting(self) -> bool:
        """Whether it was never open."""
        return self._closed is Starting

    @property
    def is_open(self) -> bool:
        """Whether calls are let through."""
        return self._closed is None

    def check(self, method: str, metadata: dict[str, str | bytes]) -> None:
        """See ``service.AuthInterceptor.check``."""
        if self._closed is not None:
            raise self._closed
        self._authorise(method, metadata)
        self._room.enter(method)

    def leave(self, method: str) -> None:
        """See ``service.AuthInterceptor.leave``."""
        self._room.leave(method)

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
        while self._room.inside and time.monotonic() < end:
            time.sleep(0.01)
        return self._room.inside == 0
