"""The real server as a process of its own, on free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from mulde.cli import main; main()"]
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment(**more: str) -> dict[str, str]:
    """The environment for a command of this checkout."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MULDE_")}
    return {**plain, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": str(ROOT), **more}


def run_mulde(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(**env), capture_output=True, text=True, timeout=60
    )


class ServerProcess:
    """A server that has said where it listens."""

    def __init__(self, process: subprocess.Popen[str], log: Path, ready: Mapping[str, Any]) -> None:
        self.process, self._log, self.ready = process, log, ready

    @property
    def command(self) -> Sequence[str]:
        """The command line that started it."""
        args = self.process.args
        assert isinstance(args, list)
        return args

    @property
    def address(self) -> str:
        return f"{_host(self.ready['host'])}:{self.ready['grpc_port']}"

    def get(self, page: str) -> tuple[int, str]:
        """Status and body of a page of the metrics port."""
        host = _host(self.ready["metrics_host"])
        url = f"http://{host}:{self.ready['metrics_port']}{page}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, wanted: str, /, **labels: str) -> float:
        """Sum of a metric over all its series that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            found, _, rest = series.partition("{")
            if found == wanted and all(f'{key}="{one}"' in rest for key, one in labels.items()):
                total += float(value)
        return total

    def log(self) -> list[dict[str, Any]]:
        """The lines of a JSON log."""
        lines = self._log.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def raw_log(self) -> str:
        return self._log.read_text("utf-8")

    def children(self) -> list[int]:
        """Ids of its worker processes."""
        pid = self.process.pid
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
        return [int(child) for child in listed.split()]

    def terminate(self, timeout: float = 20.0) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


def _host(host: str) -> str:
    """A host as it stands in an address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))
    return f"[{host}]" if ":" in host else host


@contextmanager
def server(
    directory: Path,
    *flags: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    enter: Callable[[], None] | None = None,
) -> Iterator[ServerProcess]:
    """Serve a folder until the end of the block; ``enter`` is called in the process before all."""
    command = [*COMMAND, "serve", str(directory), "--grpc-port", "0", "--metrics-port", "0"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--log-format", "json", *flags],
            env=environment(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            preexec_fn=enter,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start: {log.read_text('utf-8')}")
        yield ServerProcess(process, log, json.loads(line))
    finally:
        end(process)
        process.stdout.close()


def end(process: subprocess.Popen[str], patience_s: float = 5.0) -> None:
    """SIGTERM, so that what ran is counted for coverage, and SIGKILL where that takes too long."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def method_of_bytes(channel: grpc.Channel, path: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    """A method that is called with bytes, which need not be a message, and returns bytes."""
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return method


def eventually(holds: Callable[[], bool], timeout: float = 20.0) -> None:
    """Wait until something holds.

    Raises:
        AssertionError: if it never does.
    """
    end = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
