"""The real gateway as a process of its own, on a free port."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any

from tests.support.server import COMMAND, end, environment

Reply = tuple[int, "Message[str, str]", bytes]


@dataclass(frozen=True)
class GatewayProcess:
    """A gateway that has said where it listens."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.ready["url"])

    def send(
        self, path: str, body: bytes | None = None, /, verb: str | None = None, **headers: str
    ) -> Reply:
        """Status, headers and body of one request; ``content_type`` stands for content-type."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path.lstrip("/"), body, named, method=verb)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def metrics(self) -> str:
        """The page of its metrics port."""
        url = f"http://127.0.0.1:{self.ready['metrics_port']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            return str(response.read().decode())

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        status, _, body = self.send(path, **headers)
        return status, json.loads(body)

    def post(self, path: str, value: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a POST."""
        headers.setdefault("content_type", "application/json")
        status, _, body = self.send(path, json.dumps(value).encode(), **headers)
        return status, json.loads(body)


@contextmanager
def gateway(server: str, *flags: str) -> Iterator[GatewayProcess]:
    """A gateway before a server at an address, until the end of the block."""
    command = [*COMMAND, "web", "--server", server, "--port", "0", *flags]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "the gateway did not start"
        yield GatewayProcess(process, json.loads(line))
    finally:
        end(process)
        process.stdout.close()
