"""The channel to a server: one call, and the calls for all pages of a list, in an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from mulde.client.connection import Connection
from mulde.client.failures import error_of_call
from mulde.client.requests import ListPage, Request

T = TypeVar("T")
P = TypeVar("P", bound=ListPage)

_TIMEOUT_S = 30.0


class AsyncClientChannel:
    """The channel to a server, for an event loop."""

    def __init__(
        self, server: str | Connection, *, token: str | None = None, timeout_s: float = _TIMEOUT_S
    ) -> None:
        """Say where the server is; nothing is sent yet. Make it inside a running event loop.

        Args:
            server: "host:port", or a ``Connection`` for TLS and the like.
            token: where the server asks for one; goes with an address.
            timeout_s: seconds that a call may take, unless it says otherwise.
        """
        if isinstance(server, str):
            server = Connection(server, token=token)
        self._connection, self._timeout_s = server, timeout_s
        options = server.options()
        if server.secure:
            secret = server.credentials()
            self._channel = grpc.aio.secure_channel(server.address, secret, options)
        else:
            self._channel = grpc.aio.insecure_channel(server.address, options)
        self._calls: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def send(
        self,
        request: Request[T],
        timeout_s: float | None = None,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> T:
        """Make one call that ``mulde.client.requests`` describes.

        Args:
            request: which method, which message, how to read the response.
            timeout_s: see ``__init__``.
            metadata: goes with the call, besides that of the connection.

        Raises:
            MuldeError: if the call fails.
        """
        call = self._calls.get(request.method)
        if call is None:
            call = self._calls[request.method] = self._channel.unary_unary(
                request.method,
                request_serializer=type(request.message).SerializeToString,
                response_deserializer=request.response.FromString,
            )
        try:
            response = await call(
                request.message,
                timeout=self._timeout_s if timeout_s is None else timeout_s,
                metadata=(*self._connection.metadata(), *metadata),
            )
        except grpc.RpcError as error:
            raise error_of_call(error, self._connection.address) from None
        return request.read(response)

    async def _pages(
        self, request: Callable[[str], Request[P]], timeout_s: float | None = None
    ) -> AsyncIterator[P]:
        """Call for one page of a list after the other.

        Args:
            request: token of a page -> the call for it; the first page has an empty token.
            timeout_s: of each call.
        """
        token, more = "", True
        while more:
            page = await self.send(request(token), timeout_s)
            yield page
            token = page.next_page_token
            more = bool(token)
