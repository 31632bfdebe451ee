"""An open-loop generator of load: calls leave when they are due, whatever became of those before.

A closed loop waits for its answers and so asks less of a server that is slow; its latencies leave
out what mattered. Here the moments are drawn beforehand (a Poisson process, seeded), and a latency
counts from the moment at which the call was **due**, so that a generator that lags cannot hide it.

It is bounded in time, calls and calls in flight, and refuses every address but loopback.

Letter of shapes: N calls.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import grpc
import numpy as np

from mulde.typing import Float64, Rows

MOST_SECONDS = 120.0
MOST_CALLS = 200_000
MOST_IN_FLIGHT = 20_000
OK = grpc.StatusCode.OK.value[0]
REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
NOT_SENT = -1


@dataclass(frozen=True)
class Load:
    """What to send.

    Attributes:
        address: host:port, on loopback.
        method: full name, such as "/mulde.v1.LinkPredictionService/PredictTails".
        requests: serialised beforehand, sent in turn.
        rate: calls a second.
        seconds: for how long.
        deadline_s: of each call.
        seed: of the moments.
        connections: over which calls are spread in turn.
    """

    address: str
    method: str
    requests: Sequence[bytes]
    rate: float
    seconds: float
    deadline_s: float = 10.0
    seed: int = 0
    connections: int = 2

    def __post_init__(self) -> None:
        """Refuse what is out of bounds.

        Raises:
            ValueError: naming the bound.
        """
        host = self.address.rpartition(":")[0].strip("[]")
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"address: expected one on loopback, found {self.address!r}")
        if not 0 < self.seconds <= MOST_SECONDS:
            raise ValueError(f"seconds: expected up to {MOST_SECONDS}, found {self.seconds}")
        if not 0 < self.rate * self.seconds <= MOST_CALLS:
            found = self.rate * self.seconds
            raise ValueError(f"rate x seconds: expected up to {MOST_CALLS} calls, found {found}")

    def moments(self) -> Float64:
        """Seconds from the start at which calls are due, [N], ascending."""
        generator = np.random.default_rng(self.seed)
        count = int(self.rate * self.seconds * 1.2) + 20
        moments = np.cumsum(generator.exponential(1 / self.rate, size=count))
        due: Float64 = moments[moments < self.seconds]
        return due


@dataclass(frozen=True)
class Outcome:
    """What became of a load.

    Attributes:
        seconds: from the first moment to the last answer.
        codes: [N] gRPC codes; NOT_SENT where too many were in flight.
        latencies_s: [N] from when a call was due to its end.
        lag_s: [N] from when a call was due to when it left.
        asked_s: for how long calls were due.
    """

    seconds: float
    codes: Rows
    latencies_s: Float64
    lag_s: Float64
    asked_s: float

    def share(self, code: int) -> float:
        """Calls that ended with a code, of all, 0 to 1."""
        return float((self.codes == code).mean())

    @property
    def goodput(self) -> float:
        """Calls answered well, a second of the whole time until the last answer."""
        return int((self.codes == OK).sum()) / max(self.seconds, self.asked_s)

    def latency_ms(self, code: int, percentile: float) -> float:
        """Of the calls that ended with a code; NaN if there are none."""
        chosen = self.latencies_s[self.codes == code]
        return float(np.percentile(chosen, percentile)) * 1e3 if len(chosen) else float("nan")


def send(load: Load) -> Outcome:
    """Send a load and wait for every answer."""
    return asyncio.run(_send(load))


async def _send(load: Load) -> Outcome:
    due = load.moments()
    codes = np.full(len(due), NOT_SENT)
    ends, left = due.copy(), due.copy()
    channels = [_channel(load.address, number) for number in range(load.connections)]
    methods: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
        channel.unary_unary(load.method) for channel in channels
    ]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    begin = perf_counter()
    running: set[asyncio.Task[None]] = set()

    async def call(number: int) -> None:
        method = methods[number % len(methods)]
        left[number] = perf_counter() - begin
        try:
            await method(load.requests[number % len(load.requests)], timeout=load.deadline_s)
            codes[number] = OK
        except grpc.aio.AioRpcError as error:
            codes[number] = error.code().value[0]
        ends[number] = perf_counter() - begin

    for number, moment in enumerate(due.tolist()):
        pause = moment - (perf_counter() - begin)
        if pause > 0:
            await asyncio.sleep(pause)
        if len(running) < MOST_IN_FLIGHT:
            task = asyncio.create_task(call(number))
            running.add(task)
            task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    seconds = perf_counter() - begin
    await asyncio.gather(*(channel.close() for channel in channels))
    return Outcome(seconds, codes, ends - due, left - due, load.seconds)


def _channel(address: str, number: int) -> grpc.aio.Channel:
    """A connection of its own: equal options would share one."""
    options = [("grpc.use_local_subchannel_pool", 1), ("mulde.connection", number)]
    return grpc.aio.insecure_channel(address, options=options)
