"""The typed client over a bundle in this process.

It runs the methods that the server runs, on the same messages. So answers, limits and errors are
those of the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from mulde.client.requests import Request
from mulde.client.synchronous import Client
from mulde.errors import InvalidArgument
from serving.registry.batcher import Batcher
from serving.registry.manager import LocalModels, ModelManager
from serving.registry.model import Tuning
from serving.registry.registry import Registry
from serving.registry.repository import Repository
from serving.rpc.admission import AdmissionController
from serving.rpc.handlers import Call
from serving.rpc.methods import reading_methods
from serving.rpc.request import Limits

T = TypeVar("T")
_REQUESTS, _PAIRS, _BYTES = 1 << 10, 1 << 40, 1 << 32


class _Context:
    """What a call asks of its caller: this one always waits, without a deadline."""

    def time_remaining(self) -> None:
        """No deadline."""

    def is_active(self) -> bool:
        """Always."""
        return True


class LocalClient(Client):
    """A ``Client`` whose server is this process; admin calls are not there."""

    def __init__(self, bundle: Path, *, low_memory: bool = False) -> None:
        """Open, verify and load a bundle or a model repository.

        Args:
            bundle: folder of either.
            low_memory: see ``Engine``.

        Raises:
            BundleError: if it is missing or damaged.
        """
        self.registry = Registry(Tuning(low_memory=low_memory))
        ModelManager(Repository(bundle), LocalModels(self.registry.apply)).start()
        limits = Limits()
        batcher = Batcher(max_batch=limits.max_batch_size)
        self._runs = {
            f"/{method.containing_service.full_name}/{method.name}": run
            for method, run in reading_methods(self.registry, batcher, limits).items()
        }
        self._admission = AdmissionController(_REQUESTS, _PAIRS, _BYTES)

    def close(self) -> None:
        """Nothing is open: maps are freed with the last answer that refers to them."""

    def send(
        self,
        request: Request[T],
        timeout_s: float | None = None,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> T:
        """See ``Client.send``; there is neither a deadline nor metadata within a process."""
        run = self._runs.get(request.method)
        if run is None:
            raise InvalidArgument("method", "one that needs no server", request.method)
        context: Any = _Context()
        call = Call(context, {}, self._admission)
        try:
            made = run(request.message, call)
        finally:
            self._admission.release(call.reserved)
        if isinstance(made, bytes):
            made = request.response.FromString(made)
        return request.read(made)
