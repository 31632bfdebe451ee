"""The shutdown event: set by signals and threads, and never missed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from serving.process.shutdown import ShutdownEvent

HANDLED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP,
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
)  # fmt: skip


@pytest.fixture
def stop() -> Iterator[ShutdownEvent]:
    """One that signals set; the handlers of before come back."""
    handlers = {number: signal.getsignal(number) for number in HANDLED}
    stop = ShutdownEvent()
    stop.handle_signals()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_it_stays_set() -> None:
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
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert stop.wait(20)
    assert stop.is_set()


def test_a_signal_from_before_the_wait_is_not_missed(stop: ShutdownEvent) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wait(20)


def test_other_signals_do_not_set_it(stop: ShutdownEvent) -> None:
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    assert not stop.wait(0.1)


def test_a_hangup_reloads() -> None:
    reloads = []
    event = ShutdownEvent()
    event.reload = lambda: reloads.append(1)
    event.handle_signals()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not event.wait(0.1)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert reloads == [1]
