"""An honest caller, and an eye on the server's memory, while others do their worst."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from mulde.v1 import prediction_pb2
from tests.support.server import ServerProcess, eventually, method_of_bytes

PREDICT = "/mulde.v1.LinkPredictionService/PredictTails"
SEARCH = "/mulde.v1.VocabularyService/SearchEntities"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
HONEST = prediction_pb2.PredictTailsRequest(
    heads=["Q0000001"], relations=["P0"]
).SerializeToString()
MIB = 1 << 20
_PAUSE_S = 0.02
_DEADLINE_S = 10.0
_NO_ROOM = grpc.StatusCode.RESOURCE_EXHAUSTED


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * 4096


def descriptors(pid: int) -> int:
    """Open files and sockets of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Siege:
    """Asks an honest question all the time, from a connection that was there before.

    Attributes:
        codes: how the honest calls ended; one that was refused for want of room is asked again.
        slowest_s: the longest that one took, refusals before it included.
        grown_bytes: how far the server's memory rose above what it was at first.
    """

    def __init__(self, served: ServerProcess) -> None:
        self._pid = served.process.pid
        self._channel = grpc.insecure_channel(served.address)
        self._ask = method_of_bytes(self._channel, PREDICT)
        self.codes: list[grpc.StatusCode] = []
        eventually(lambda: self._code() is not _NO_ROOM)  # what was sent before may be under way
        self.codes.clear()
        self._first_bytes = memory_bytes(self._pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.slowest_s, self.grown_bytes = 0.0, 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        time.sleep(0.2)  # what is still on its way shall be felt too
        self._over.set()
        self._thread.join()
        self._channel.close()

    def _run(self) -> None:
        while not self._over.wait(_PAUSE_S):
            start = time.perf_counter()
            while self._code() is _NO_ROOM and not self._over.wait(_PAUSE_S):
                pass
            self.slowest_s = max(self.slowest_s, time.perf_counter() - start)
            self.grown_bytes = max(self.grown_bytes, memory_bytes(self._pid) - self._first_bytes)

    def _code(self) -> grpc.StatusCode:
        """Ask once."""
        try:
            self._ask(HONEST, timeout=_DEADLINE_S)
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        self.codes.append(code)
        return code
