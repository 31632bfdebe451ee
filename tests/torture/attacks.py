"""What hostile callers do to the gRPC port. Each returns how many inputs it sent."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import grpc
import numpy as np
import pytest

from mulde.v1 import prediction_pb2, vocabulary_pb2
from tests.support.server import method_of_bytes
from tests.torture.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    call_headers,
    connected,
    frame,
    header_block,
    message,
    plain,
    settings,
)
from tests.torture.siege import HONEST, MIB, PREDICT, REFLECT, SEARCH, WATCH

Random = np.random.Generator
Attack = Callable[[str, Random, int], int]

STREAMS = 120
"""Of one connection; the server allows some more."""


def garbage(address: str, random: Random, effort: int) -> int:
    """Bytes that are no HTTP/2, and frames that make no sense."""
    count = 300 * effort
    for _ in range(count):
        with contextlib.suppress(OSError), plain(address) as connection:
            if random.random() < 0.2:
                connection.sendall(random.bytes(int(random.integers(1, 4096))))
                continue
            frames = [_any_frame(random) for _ in range(int(random.integers(1, 8)))]
            connection.sendall(PREFACE + settings() + b"".join(frames))
    return count


def _any_frame(random: Random) -> bytes:
    """A frame with a type, flags, stream and content that fit or do not."""
    kind, flags = int(random.integers(0, 12)), int(random.integers(0, 256))
    stream = int(random.choice([0, 1, 2, 3, 2**31 - 1]))
    content = random.bytes(int(random.integers(0, 200)))
    if random.random() < 0.3:
        kind, stream, content = HEADERS, 1, call_headers(PREDICT) + content[:20]
    made = frame(kind, flags, stream, content)
    return random.bytes(3) + made[3:] if random.random() < 0.1 else made


def silence(address: str, random: Random, effort: int) -> int:
    """More connections than are allowed; half of them say that they speak HTTP/2, none asks."""
    count = 400 * min(effort, 4)
    with ExitStack() as stack:
        for place in range(count):
            with contextlib.suppress(OSError):
                connection = stack.enter_context(plain(address))
                connection.sendall((PREFACE + settings()) if place % 2 else b"")
        time.sleep(1)
    return count


def half_open(address: str, random: Random, effort: int) -> int:
    """Calls whose messages never come."""
    return _hold(address, effort, [frame(HEADERS, END_HEADERS, 1, call_headers(PREDICT))])


def reflections(address: str, random: Random, effort: int) -> int:
    """Streams that are opened and left."""
    return _hold(address, effort, [frame(HEADERS, END_HEADERS, 1, call_headers(REFLECT))])


def slow_bodies(address: str, random: Random, effort: int) -> int:
    """Messages of a MiB of which the first KiB comes."""
    begun = message(bytes(1024), claims=MIB - 100)
    headers = frame(HEADERS, END_HEADERS, 1, call_headers(PREDICT))
    return _hold(address, effort, [headers, frame(DATA, 0, 1, begun)])


def _hold(address: str, effort: int, opening: list[bytes]) -> int:
    """Open many streams with the same frames on several connections, and keep them."""
    connections = 3 * effort
    with ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(connected(address)).sendall(on_streams(opening))
        time.sleep(1)
    return connections * STREAMS


def on_streams(opening: list[bytes]) -> bytes:
    """The same frames on each of many streams."""
    places = range(STREAMS)
    return b"".join(_on_stream(made, place) for place in places for made in opening)


def _on_stream(made: bytes, place: int) -> bytes:
    """The same frame on the stream of that place."""
    return made[:5] + (2 * place + 1).to_bytes(4, "big") + made[9:]


def rapid_resets(address: str, random: Random, effort: int) -> int:
    """Whole calls, each taken back at once, without reading an answer."""
    wanted, sent = 20_000 * effort, 0
    call = [
        frame(HEADERS, END_HEADERS, 1, call_headers(PREDICT)),
        frame(DATA, END_STREAM, 1, message(HONEST)),
        frame(RST_STREAM, 0, 1, b"\0\0\0\x08"),
    ]
    while sent < wanted:
        with contextlib.suppress(OSError), connected(address) as connection:
            for place in range(wanted - sent):
                sent += 1
                connection.sendall(b"".join(_on_stream(made, place) for made in call))
    return sent


def metadata(address: str, random: Random, effort: int) -> int:
    """A header of 64 KiB, and header blocks that do not end."""
    with grpc.insecure_channel(address) as channel:
        ask = method_of_bytes(channel, PREDICT)
        with pytest.raises(grpc.RpcError) as refused:
            ask(HONEST, metadata=(("x-much", "y" * 65_536),), timeout=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    more = frame(CONTINUATION, 0, 1, header_block([(b"x-more", b"y" * 16_000)]))
    count = 2000 * effort
    with contextlib.suppress(OSError), connected(address) as connection:
        connection.sendall(frame(HEADERS, 0, 1, call_headers(PREDICT)))
        for _ in range(count):
            connection.sendall(more)
    return count


def unread_answers(address: str, random: Random, effort: int) -> int:
    """Large questions from callers who take no byte of an answer."""
    count = 80 * effort
    with ExitStack() as stack:
        for place in range(count):
            if place % STREAMS == 0:
                connection = stack.enter_context(connected(address, settings(s4=0)))
            connection.sendall(large_question(place % STREAMS))
            time.sleep(0.04)
    return count


def large_question(place: int) -> bytes:
    """A call on the stream of that place, whose answer is large."""
    request = prediction_pb2.PredictTailsRequest(
        heads=["Q0000001"] * 64,
        relations=["P0"] * 64,
        options=prediction_pb2.PredictOptions(k=1000),
    ).SerializeToString()
    asked = frame(DATA, END_STREAM, 1, message(request))
    headers = frame(HEADERS, END_HEADERS, 1, call_headers(PREDICT))
    return b"".join(_on_stream(made, place) for made in (headers, asked))


def watchers(address: str, random: Random, effort: int) -> int:
    """Watchers of services with made-up names who read nothing."""
    connections = 10 * effort
    with ExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(connected(address, settings(s4=0)))
            for place in range(STREAMS):
                name = random.bytes(60).hex().encode()
                asked = message(b"\x0a" + bytes([len(name)]) + name)
                headers = frame(HEADERS, END_HEADERS, 1, call_headers(WATCH))
                both = (headers, frame(DATA, END_STREAM, 1, asked))
                connection.sendall(b"".join(_on_stream(made, place) for made in both))
            time.sleep(0.05)
    return connections * STREAMS


def labels(address: str, random: Random, effort: int) -> int:
    """The most and longest labels that one may ask for, again and again, and never found."""
    letters = np.frombuffer(b"abcdefghij tuvw", dtype=np.uint8)
    queries = [random.choice(letters, 256).tobytes().decode() for _ in range(1024)]
    request = vocabulary_pb2.SearchEntitiesRequest(queries=queries, page_size=100)
    data, end = request.SerializeToString(), time.monotonic() + 2 * effort
    counts = []

    def ask() -> None:
        with grpc.insecure_channel(address) as channel:
            search = method_of_bytes(channel, SEARCH)
            while time.monotonic() < end:
                counts.append(len(queries))
                with contextlib.suppress(grpc.RpcError):
                    search(data, timeout=2)

    askers = [threading.Thread(target=ask) for _ in range(12)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    return sum(counts)


def bombs(address: str, random: Random, effort: int) -> int:
    """A few hundred KiB that would unpack to 256 MiB."""
    packed = gzip.compress(bytes(256 * MIB), 9)
    for _ in range(3 * effort):
        encoding = call_headers(PREDICT, (b"grpc-encoding", b"gzip"))
        with contextlib.suppress(OSError), connected(address) as connection:
            connection.sendall(frame(HEADERS, END_HEADERS, 1, encoding))
            whole = message(packed, compressed=True)
            for start in range(0, len(whole), 16_384):
                last = END_STREAM * (start + 16_384 >= len(whole))
                connection.sendall(frame(DATA, last, 1, whole[start : start + 16_384]))
            time.sleep(0.5)
    return 3 * effort


ALL = (
    garbage,
    silence,
    half_open,
    reflections,
    slow_bodies,
    rapid_resets,
    metadata,
    unread_answers,
    watchers,
    labels,
    bombs,
)
