"""Check who may call what.

A caller sends ``authorization: Bearer TOKEN``; ``tokens.py`` says which role that token has.
Without a token file all callers may read, and none may administer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock

from mulde.errors import Forbidden, Overloaded, Unauthenticated
from serving.process.access.tokens import Tokens
from serving.process.monitoring.logs import Log

ADMIN_METHODS = frozenset(
    f"mulde.v1.{name}"
    for name in (
        "FactService.AddFacts",
        "FactService.ListChangedFacts",
        "FactService.RemoveFacts",
        "ModelService.LoadModel",
        "ModelService.ReloadModel",
        "ModelService.UnloadModel",
    )
)

Metadata = Mapping[str, str | bytes]
_MOST_PEERS = 1024
_WINDOW_S = 60.0


class FailureLimit:
    """Counts failed authentications of each address, for the newest 1,024 addresses."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow ``most`` failures a minute from each address."""
        self.most, self._clock = most, clock
        self._lock = Lock()
        self._counts: dict[str, tuple[float, int]] = {}

    def count(self, host: str) -> bool:
        """Count a failure; whether it is within the limit."""
        now = self._clock()
        with self._lock:
            since, count = self._counts.pop(host, (now, 0))
            if now - since >= _WINDOW_S:
                since, count = now, 0
            self._counts[host] = since, count + 1
            if len(self._counts) > _MOST_PEERS:
                del self._counts[next(iter(self._counts))]
        return count < self.most


class AuthInterceptor:
    """Checks callers by their tokens."""

    def __init__(self, tokens: Tokens | None, log: Log, max_failures: int) -> None:
        """Check by ``tokens``.

        Args:
            tokens: the known ones; None for no token file.
            log: told of failures, with the caller's address.
            max_failures: failures a minute from one address; beyond it they are not logged, and
                refused as an overload.
        """
        self._tokens, self._log = tokens, log
        self._failures = FailureLimit(max_failures)

    def of(self, method: str) -> Callable[[str, Metadata, Callable[[], str]], str] | None:
        """What checks the callers of a method; None where all may call it."""
        if self._tokens is None and method not in ADMIN_METHODS:
            return None
        return self.check

    def check(self, method: str, metadata: Metadata, peer: Callable[[], str]) -> str:
        """Let a caller pass; what its token is called in the log.

        Args:
            method: full name.
            metadata: of the call.
            peer: gives the caller's address, as gRPC writes it.

        Raises:
            Unauthenticated: without a token that is known.
            Overloaded: likewise, after too many failures from the same address.
            Forbidden: where the token's role does not allow the method.
        """
        if self._tokens is None:
            raise Forbidden(method)
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        known = self._tokens.find(token.strip()) if scheme.lower() == "bearer" else None
        if known is None:
            self._fail(method, peer())
            raise Unauthenticated
        if method in ADMIN_METHODS and known.role != "admin":
            raise Forbidden(method)
        return known.name

    def _fail(self, method: str, peer: str) -> None:
        if not self._failures.count(peer.rpartition(":")[0]):
            what = "failed authentications a minute from one address"
            raise Overloaded(self._failures.most, what)
        self._log.warning("authentication failed", peer=peer, method=method)
