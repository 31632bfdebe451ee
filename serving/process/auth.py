"""Check who may call what.

A caller sends ``authorization: Bearer TOKEN``; ``tokens.py`` says which role that token has.
Without a token file all callers may read, and none may administer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mulde.errors import Forbidden, Unauthenticated
from serving.process.tokens import Tokens

ADMIN_METHODS = frozenset(
    f"mulde.v1.ModelService.{name}" for name in ("LoadModel", "ReloadModel", "UnloadModel")
)

Metadata = Mapping[str, str | bytes]


class AuthInterceptor:
    """Checks callers by their tokens."""

    def __init__(self, tokens: Tokens | None) -> None:
        """Check by ``tokens``; None for no token file."""
        self._tokens = tokens

    def of(self, method: str) -> Callable[[str, Metadata], str] | None:
        """What checks the callers of a method; None where all may call it."""
        if self._tokens is None and method not in ADMIN_METHODS:
            return None
        return self.check

    def check(self, method: str, metadata: Metadata) -> str:
        """Let a caller pass; what its token is called in the log.

        Raises:
            Unauthenticated: without a token that is known.
            Forbidden: where the token's role does not allow the method.
        """
        if self._tokens is None:
            raise Forbidden(method)
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        known = self._tokens.find(token.strip()) if scheme.lower() == "bearer" else None
        if known is None:
            raise Unauthenticated
        if method in ADMIN_METHODS and known.role != "admin":
            raise Forbidden(method)
        return known.name
