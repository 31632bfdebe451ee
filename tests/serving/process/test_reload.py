"""SIGHUP reads the settings again: some change at once, the log names those that need a restart."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from mulde.client import Client
from tests.support.server import ServerProcess, eventually, server
from tests.support.toy import Toy


def lines(process: ServerProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in process.log() if line["event"] == event]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_hangup_applies_what_can_change_and_names_the_rest(
    served_toy: Toy, tmp_path: Path, workers: str
) -> None:
    config = tmp_path / "mulde.toml"
    config.write_text("[log]\nlevel = 'info'\n")
    flags = ("--config", str(config), "--workers", workers)
    with server(served_toy.path, *flags, log=tmp_path / "log") as process:
        config.write_text("[log]\nrequests = true\n[server]\ngrace_s = 7\n[limits]\nmax_k = 9\n")
        process.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(lines(process, "settings reloaded")) >= int(workers))
        for line in lines(process, "settings reloaded"):
            if "worker" not in line:
                assert line["changed"] == ["log.requests", "server.grace_s"]
                assert line["need_restart"] == ["limits.max_k"]

        def is_logged() -> bool:
            with Client(process.address) as client:
                client.models()
            return bool(lines(process, "request"))

        eventually(is_logged)
        config.write_text("[log]\nrequest = true\n")
        process.process.send_signal(signal.SIGHUP)
        eventually(lambda: bool(lines(process, "settings not reloaded")))
        assert "log.requests" in lines(process, "settings not reloaded")[0]["error"]
        assert process.terminate() == 0
        assert lines(process, "draining")[0]["grace_s"] == 7


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM])
def test_other_signals_do_not_end_the_server(
    served_toy: Toy, tmp_path: Path, number: signal.Signals
) -> None:
    with server(served_toy.path, log=tmp_path / "log") as process:
        process.process.send_signal(number)
        with Client(process.address) as client:
            assert len(client.models()) == 1
        assert process.terminate() == 0


def test_the_log_level_follows_a_hangup(served_toy: Toy, tmp_path: Path) -> None:
    config = tmp_path / "mulde.toml"
    config.write_text("[log]\nlevel = 'info'\n")
    with server(served_toy.path, "--config", str(config), log=tmp_path / "log") as process:
        config.write_text("[log]\nlevel = 'error'\n")
        process.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert process.terminate() == 0
        assert not lines(process, "draining")
