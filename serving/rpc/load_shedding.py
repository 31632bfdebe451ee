"""The way in: a call that finds no room is turned away as it arrives, before its message is read.

gRPC gives each call a thread, which waits for the message; a call that will be refused is worth
neither. It is answered by the thread that takes calls in. So refusing costs a small part of what
answering does, and a server that gets twice what it can answer still answers nearly all it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc

Answer = Callable[[bytes, grpc.ServicerContext], bytes]
Refuse = Callable[[grpc.ServicerContext], None]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
T = TypeVar("T")


class Gate(Protocol):
    """Tells whether there is room."""

    def is_full(self, method: str) -> bool:
        """Whether a call of that method would be refused now for want of room."""


@dataclass(frozen=True)
class Door:
    """How the calls of one method end.

    Attributes:
        method: what ``Gate`` calls it.
        answer: takes the message, as bytes; returns the answer, as bytes.
        refuse: sets code and details.
    """

    method: str
    answer: Answer
    refuse: Refuse


class Entrance(grpc.GenericRpcHandler):
    """The methods of one service, by full name: "/package.Service/Method"."""

    def __init__(self, doors: Mapping[str, Door], gate: Gate) -> None:
        self._gate = gate
        self._doors: dict[str, tuple[str, Handler, Handler]] = {
            name: (
                door.method,
                grpc.unary_unary_rpc_method_handler(door.answer),
                # As a method that streams, for such a one is called before there is a message.
                grpc.stream_unary_rpc_method_handler(_at_once(door.refuse)),
            )
            for name, door in doors.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Who takes the call; None for a method that is not here."""
        door = self._doors.get(handler_call_details.method)
        if door is None:
            return None
        method, answer, refuse = door
        return refuse if self._gate.is_full(method) else answer


class _AtOnce(futures.ThreadPoolExecutor):
    """Not a pool, but where gRPC asks for one: runs in the thread that submits."""

    def __init__(self) -> None:
        super().__init__(1)
        # gRPC asks no more of a future than to say that it is done, and a new one has its price.
        self._done: futures.Future[Any] = futures.Future()
        self._done.set_result(None)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """Run, then return that it is done; or what went wrong."""
        try:
            fn(*args, **kwargs)
        except BaseException as error:  # it belongs to whoever asks the future, as in a pool
            failed: futures.Future[T] = futures.Future()
            failed.set_exception(error)
            return failed
        return self._done


def _at_once(refuse: Refuse) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
    """A behaviour that refuses, and that gRPC runs without a thread of its own."""

    def behave(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        refuse(context)
        return b""

    behave.experimental_thread_pool = _AtOnce()  # type: ignore[attr-defined]
    return behave
