"""Descriptors and connections: raise the limit, keep a reserve, close idle connections first.

Each connection takes a descriptor. gRPC refuses new connections above a number. Before that number
is reached, silent connections are closed here: first those that never made a call, then those that
have been silent for longest. A gRPC client whose idle connection was closed connects again by
itself.
"""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from mulde.errors import ConfigError
from serving.process.addresses import address
from serving.process.monitoring.logs import Log

_MOST_DESCRIPTORS = 1 << 20
_RESERVE = 256
"""Descriptors for models, probes, listening sockets and gRPC itself."""
_CROWDED, _RELIEVED = 3 / 4, 1 / 2
_SILENT_MS = 1000
_SILENT_BEFORE_CALL_MS, _ROUND_TRIPS = 200, 4
"""A connection without a call so far may be silent for so long, and for so many round trips."""
_TCP_INFO_BYTES, _LAST_RECEIVED_AT, _ROUND_TRIP_AT = 104, 52, 68
_KNOWN_FOR_EACH = 4
"""Addresses of callers that are remembered for each connection that there may be."""
_DESCRIPTORS = Path("/proc/self/fd")


def descriptor_limit() -> int:
    """Return the limit of descriptors, the soft one raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def max_connections(wanted: int | None, descriptors: int) -> int:
    """Return how many connections a process may hold.

    Args:
        wanted: the setting; None for 4,096, or fewer where there are fewer descriptors.
        descriptors: the limit on open files.

    Raises:
        ConfigError: if there are too few descriptors for the setting.
    """
    possible = max(1, descriptors - min(_RESERVE, descriptors // 2))
    if wanted is None:
        return min(4096, possible)
    if wanted > possible:
        expected = f"at most {possible}, for {descriptors} descriptors (ulimit -n)"
        raise ConfigError("server.max_connections", expected, wanted)
    return wanted


class Callers(Protocol):
    """Knows who calls; addresses are as gRPC writes them."""

    def peers(self) -> set[str]:
        """Callers that wait for an answer."""

    def callers(self) -> set[str]:
        """Callers that were admitted at least once."""

    def forget_callers(self, gone: set[str]) -> None:
        """Drop callers that have no connection any more."""


class IdleConnections:
    """Closes connections that are silent when there are many; Linux only."""

    def __init__(self, port: int, most: int, callers: Callers, log: Log) -> None:
        """Look at nothing yet.

        Args:
            port: that connections were made to.
            most: connections at which gRPC refuses more.
            callers: tells whose connections are in use.
            log: told of connections that were closed.
        """
        self._port, self._most, self._callers, self._log = port, most, callers, log

    def look(self) -> bool:
        """Close the most silent connections if there are many; whether there are many."""
        known = self._callers.callers()
        is_crowded = len(_descriptors()) >= _CROWDED * self._most
        if not is_crowded and len(known) < _KNOWN_FOR_EACH * self._most:
            return False
        connections = [one for one in map(self._connection, _descriptors()) if one is not None]
        have_called = _by_address(known)
        opened = {one.peer for one in connections}
        self._callers.forget_callers({have_called[peer] for peer in have_called.keys() - opened})
        if len(connections) < _CROWDED * self._most:
            return False
        self._close_silent(connections, have_called.keys())
        return True

    def _close_silent(self, connections: list[_Connection], have_called: Set[str]) -> None:
        """Close silent connections until the process is relieved."""
        busy = _by_address(self._callers.peers()).keys()
        silent = sorted(
            (one for one in connections if one.is_silent(have_called) and one.peer not in busy),
            key=lambda one: (one.peer in have_called, -one.silent_ms),
        )
        excess = silent[: len(connections) - int(_RELIEVED * self._most)]
        for connection in excess:
            self._close(connection)
        if excess:
            self._log.warning("closed idle connections", closed=len(excess), open=len(connections))

    def _connection(self, descriptor: int) -> _Connection | None:
        """Look at a descriptor; None for what is no connection to the port."""
        with _copy(descriptor) as copy:
            return None if copy is None else _look_at(copy, descriptor, self._port)

    def _close(self, connection: _Connection) -> None:
        """Shut a connection down, unless its descriptor means another one by now."""
        with _copy(connection.descriptor) as copy:
            if copy is None:
                return
            again = _look_at(copy, connection.descriptor, self._port)
            if again is not None and again.peer == connection.peer:
                with suppress(OSError):
                    copy.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class _Connection:
    """A caller's connection: its descriptor, "host:port", and the time since it sent something."""

    descriptor: int
    peer: str
    silent_ms: int
    round_trip_us: int

    def is_silent(self, have_called: Set[str]) -> bool:
        """Whether it has been silent for so long that it may be closed.

        The last message of a handshake may be a round trip away, so more of them are waited for.
        """
        if self.peer in have_called:
            return self.silent_ms >= _SILENT_MS
        least_ms = max(_SILENT_BEFORE_CALL_MS, _ROUND_TRIPS * self.round_trip_us / 1e3)
        return self.silent_ms >= min(least_ms, _SILENT_MS)


def _by_address(peers: set[str]) -> dict[str, str]:
    """Addresses "host:port" of callers, each with what gRPC calls it ("ipv4:host:port")."""
    return {unquote(peer).partition(":")[2]: peer for peer in peers}


def _descriptors() -> list[int]:
    """All descriptors of this process; none where the system does not tell."""
    if not hasattr(socket, "TCP_INFO") or not _DESCRIPTORS.exists():
        return []
    with os.scandir(_DESCRIPTORS) as entries:
        return [int(entry.name) for entry in entries]


@contextmanager
def _copy(descriptor: int) -> Iterator[socket.socket | None]:
    """A socket of its own for a descriptor, which gRPC may close meanwhile; None if it is none."""
    copy = None
    with suppress(OSError):
        number = os.dup(descriptor)
        try:
            copy = socket.socket(fileno=number)
        except OSError:
            os.close(number)
    try:
        yield copy
    finally:
        if copy is not None:
            copy.close()


def _look_at(connection: socket.socket, descriptor: int, port: int) -> _Connection | None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        if connection.getsockname()[1] != port:
            return None
        host, peer_port, *_ = connection.getpeername()
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    (silent_ms,) = struct.unpack_from("I", info, _LAST_RECEIVED_AT)
    (round_trip_us,) = struct.unpack_from("I", info, _ROUND_TRIP_AT)
    peer = address(host.removeprefix("::ffff:"), peer_port)
    return _Connection(descriptor, peer, silent_ms, round_trip_us)
