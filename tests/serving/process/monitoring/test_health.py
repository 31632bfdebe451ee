"""Watchers of grpc.health.v1 end with the newest status, whatever their threads do."""

from __future__ import annotations

import threading
import time
from typing import Any

from grpc_health.v1 import health_pb2

from serving.process.monitoring.health import Health
from tests.support.server import eventually


class WatchingCall:
    """A caller's side of a Watch call; the message numbered ``slow`` takes a while to send."""

    def __init__(self, slow: int) -> None:
        self.heard: list[int] = []
        self._slow, self._sent = slow, 0

    def send(self, response: health_pb2.HealthCheckResponse) -> None:
        self._sent += 1
        if self._sent == self._slow:
            time.sleep(0.3)
        self.heard.append(response.status)

    def add_callback(self, callback: object) -> bool:
        return True

    def cancel(self) -> None:
        """It goes on: only what is heard counts."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def is_active(self) -> bool:
        return True


def test_two_changes_at_once_arrive_in_order() -> None:
    """The first is slow to send; the second must not be followed by it."""
    health, call = Health(), WatchingCall(slow=2)
    context: Any = call
    health.tell(True, "")
    health.watch(iter([health_pb2.HealthCheckRequest(service="")]), context, call.send)
    health.tell(False, "")
    time.sleep(0.1)
    health.tell(True, "")
    eventually(lambda: len(call.heard) >= 3)
    assert call.heard[-1] == health_pb2.HealthCheckResponse.SERVING


def test_a_change_while_the_first_status_is_sent_comes_after_it() -> None:
    health = Health()
    health.tell(False, "")

    class Changing(WatchingCall):
        """The status changes after it was read and before it is sent."""

        def send(self, response: health_pb2.HealthCheckResponse) -> None:
            if not self.heard and response.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                health.tell(True, "")
                time.sleep(0.3)
            super().send(response)

    call = Changing(slow=0)
    context: Any = call
    health.watch(iter([health_pb2.HealthCheckRequest(service="")]), context, call.send)
    eventually(lambda: health_pb2.HealthCheckResponse.SERVING in call.heard)
    time.sleep(0.5)
    assert call.heard[-1] == health_pb2.HealthCheckResponse.SERVING


def test_a_watcher_that_takes_nothing_more_does_not_keep_a_change_from_others() -> None:
    """More of them than threads that tell of a change; they wait until they are cancelled."""

    class Stuck(WatchingCall):
        def __init__(self) -> None:
            super().__init__(slow=0)
            self.cancelled = threading.Event()

        def send(self, response: health_pb2.HealthCheckResponse) -> None:
            if self.heard:
                self.cancelled.wait(20)
            super().send(response)

        def cancel(self) -> None:
            self.cancelled.set()

    health, call = Health(), WatchingCall(slow=0)
    health.tell(True, "")
    stuck = [Stuck() for _ in range(40)]
    for one in (*stuck, call):
        context: Any = one
        health.watch(iter([health_pb2.HealthCheckRequest(service="")]), context, one.send)
    health.tell(False, "")
    eventually(lambda: call.heard[-1] == health_pb2.HealthCheckResponse.NOT_SERVING, timeout=10)
    assert sum(one.cancelled.is_set() for one in stuck) >= 25  # the others have a thread each
