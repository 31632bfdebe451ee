"""What requests hold beyond 64 KiB counts until it is released."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.types import Message

from mulde.errors import Overloaded
from serving.gateway.held_bytes import SMALL_BYTES, HeldBytes, HeldResponse, Share, in_parts


def _run(answering: Coroutine[Any, Any, None]) -> None:
    """Run in a thread of its own: a browser's tests leave a running loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, asyncio.wait_for(answering, 10)).result()


def test_small_requests_count_nothing_and_large_ones_what_is_beyond() -> None:
    held = HeldBytes(100)
    small, large = Share(held), Share(held)
    for _ in range(4):
        small.add(SMALL_BYTES // 4)
    assert held.total == 0
    large.add(SMALL_BYTES + 60)
    large.add(40)
    assert held.total == 100


def test_one_byte_too_many_is_refused_until_another_is_released() -> None:
    held = HeldBytes(100)
    first, second = Share(held), Share(held)
    first.add(SMALL_BYTES + 100)
    second.add(SMALL_BYTES)
    with pytest.raises(Overloaded, match="limit of 100 bytes"):
        second.add(1)
    first.release()
    second.add(1)
    assert held.total == 1


def test_a_response_counts_until_its_caller_took_it() -> None:
    held, taken = HeldBytes(10 * SMALL_BYTES), []
    share = Share(held)
    share.add(3 * SMALL_BYTES)

    async def send(message: Message) -> None:
        assert held.total == 2 * SMALL_BYTES
        taken.append(message.get("body", b""))

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    response = HeldResponse(in_parts(bytes(3 * SMALL_BYTES)), share, "application/json")
    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    _run(response(scope, receive, send))
    assert b"".join(taken) == bytes(3 * SMALL_BYTES)
    assert max(map(len, taken)) == SMALL_BYTES
    assert held.total == 0


def test_a_caller_that_takes_nothing_is_left_and_its_bytes_are_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.gateway.held_bytes.TAKEN_S", 0.05)
    held = HeldBytes(10 * SMALL_BYTES)
    share = Share(held)
    share.add(3 * SMALL_BYTES)

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Message) -> None:
        await asyncio.sleep(60)

    response = HeldResponse(in_parts(bytes(3 * SMALL_BYTES)), share, "application/json")
    for version in ("2.3", "2.4"):
        scope = {"type": "http", "asgi": {"spec_version": version}}
        _run(response(scope, receive, send))
    assert held.total == 0
