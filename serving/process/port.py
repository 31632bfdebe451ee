"""Reserve the gRPC port, so that the processes of one server share it and no other server does."""

from __future__ import annotations

import socket

from mulde.errors import ConfigError
from serving.process.settings import ServerSettings


def reserve_port(server: ServerSettings) -> socket.socket:
    """Return a socket that is bound to the port with SO_REUSEPORT and never listens.

    Raises:
        ConfigError: if another program has the port, or there is no such address.
    """
    host, port = server.host.strip("[]"), server.grpc_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # First without sharing: a server that shares its port too would otherwise not be noticed.
        with socket.socket(family, socket.SOCK_STREAM) as exclusive:
            exclusive.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            exclusive.bind((host, port))
            exclusive.listen()
            port = exclusive.getsockname()[1]
        reserved = socket.socket(family, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        expected = f"a free port on {host} ({error.strerror})"
        raise ConfigError("server.grpc_port", expected, server.grpc_port) from error
    return reserved
