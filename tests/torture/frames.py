"""HTTP/2 by hand: what a client library would never send.

Header blocks use literals without indexing alone (RFC 7541, 6.2.2), so that nothing depends on what
was sent before.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0x0, 0x1, 0x2, 0x3, 0x4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x6, 0x7, 0x8, 0x9
END_STREAM, END_HEADERS = 0x1, 0x4
LARGEST_FRAME = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Length (24 bits), type, flags, stream, payload."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values: int) -> bytes:
    """A SETTINGS frame: ``s4=0`` sets number 4, the initial window."""
    pairs = (struct.pack(">HI", int(name[1:]), value) for name, value in values.items())
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def header_block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Literals without indexing."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)


def _text(text: bytes) -> bytes:
    """Length with a prefix of 7 bits (RFC 7541, 5.1), then the text as it is."""
    size, prefix = len(text), bytearray()
    if size < 127:
        prefix.append(size)
    else:
        prefix.append(127)
        size -= 127
        while size >= 128:
            prefix.append(size % 128 + 128)
            size //= 128
        prefix.append(size)
    return bytes(prefix) + text


def call_headers(path: str, *more: tuple[bytes, bytes]) -> bytes:
    """The header block of a gRPC call."""
    return header_block(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *more,
        ]
    )


def message(content: bytes, *, compressed: bool = False, claims: int | None = None) -> bytes:
    """A gRPC message: whether it is compressed, its length (which may be a lie), itself."""
    return struct.pack(">BI", compressed, len(content) if claims is None else claims) + content


@contextmanager
def connected(address: str, *first: bytes) -> Iterator[socket.socket]:
    """A connection that has sent the preface, its settings and what else is given."""
    with plain(address) as connection:
        connection.sendall(PREFACE + settings() + b"".join(first))
        yield connection


def plain(address: str) -> socket.socket:
    """A connection that has said nothing."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def is_closed(connection: socket.socket, within_s: float) -> bool:
    """Whether the other side hangs up in time; what it says meanwhile is read and let go of."""
    end = time.monotonic() + within_s
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            if not connection.recv(1 << 16):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


def frames_of(connection: socket.socket, within_s: float) -> Iterator[tuple[int, int]]:
    """Type and stream of each frame that comes in time."""
    end, held = time.monotonic() + within_s, b""
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            came = connection.recv(1 << 16)
        except TimeoutError:
            return
        if not came:
            return
        held += came
        while len(held) >= 9 and len(held) >= 9 + int.from_bytes(held[:3]):
            yield held[3], int.from_bytes(held[5:9])
            held = held[9 + int.from_bytes(held[:3]) :]
