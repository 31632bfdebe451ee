"""The wish to stop: from a signal, from a thread, and never missed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from serving.process.shutdown import ShutdownEvent


@pytest.fixture
def stop() -> Iterator[ShutdownEvent]:
    """One that SIGUSR1 sets; what was there before comes back."""
    handler = signal.getsignal(signal.SIGUSR1)
    stop = ShutdownEvent()
    stop.on(signal.SIGUSR1)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, handler)


def test_it_is_set_once_and_for_ever() -> None:
    stop = ShutdownEvent()
    assert not stop.is_set()
    stop.set()
    stop.set()
    assert stop.is_set()
    assert stop.wait()


def test_a_wait_ends_when_another_thread_sets_it() -> None:
    stop = ShutdownEvent()
    threading.Timer(0.05, stop.set).start()
    assert stop.wait(20)


def test_a_wait_ends_in_time() -> None:
    start = time.monotonic()
    assert not ShutdownEvent().wait(0.05)
    assert time.monotonic() - start >= 0.05


def test_a_signal_sets_it_though_no_handler_of_python_runs(stop: ShutdownEvent) -> None:
    """Sent by another thread while this one waits, and before it does."""
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    assert stop.wait(20)
    assert stop.is_set()


def test_a_signal_from_before_the_wait_is_not_missed(stop: ShutdownEvent) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)
    assert stop.wait(20)
