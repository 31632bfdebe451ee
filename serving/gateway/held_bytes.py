"""Bound the bytes of bodies and responses that the gateway holds at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from mulde.errors import Overloaded

SMALL_BYTES = 64 << 10
TAKEN_S = 20.0
"""A caller that takes no part of its response for so long is cut off."""


class HeldBytes:
    """Counts what all requests hold beyond their first 64 KiB."""

    def __init__(self, most: int) -> None:
        """Hold nothing; ``most`` bytes at once."""
        self.most, self.total = most, 0


class Share:
    """What one request holds: its body, then the server's response, then the JSON of it."""

    def __init__(self, held: HeldBytes) -> None:
        self._held, self._size, self._counted = held, 0, 0

    def add(self, size: int) -> None:
        """Count more bytes.

        Raises:
            Overloaded: if all requests would hold too much.
        """
        more = max(0, self._size + size - SMALL_BYTES) - self._counted
        if self._held.total + more > self._held.most:
            raise Overloaded(
                self._held.most, "bytes of bodies and responses that the gateway holds"
            )
        self._held.total += more
        self._counted += more
        self._size += size

    def release(self) -> None:
        """Count nothing any more."""
        self._held.total -= self._counted
        self._size = self._counted = 0


class HeldResponse(StreamingResponse):
    """A response in parts that counts in a share until its caller took it, or is cut off."""

    def __init__(self, parts: AsyncIterator[bytes], share: Share, media_type: str) -> None:
        """Send ``parts``."""
        super().__init__(parts, media_type=media_type)
        self._share = share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a caller that takes nothing is left, and uvicorn closes its connection."""

        async def send_in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), TAKEN_S)

        try:
            await super().__call__(scope, receive, send_in_time)
        except (TimeoutError, ClientDisconnect):
            return
        finally:
            self._share.release()


async def in_parts(text: bytes) -> AsyncIterator[bytes]:
    """Parts of a text; the next one is sent when the caller took the one before."""
    for start in range(0, len(text), SMALL_BYTES):
        yield text[start : start + SMALL_BYTES]
