"""Signals to the gateway: which end it, which it ignores, and a renewed certificate."""

from __future__ import annotations

import shutil
import signal
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import Authority, Pair
from tests.support.gateway import GatewayProcess, gateway
from tests.support.server import ServerProcess, eventually

QUERY = {"heads": ["Q0000001"], "relations": ["P1"]}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM])
def test_signals_that_mean_nothing_do_not_end_it(
    served: ServerProcess, number: signal.Signals
) -> None:
    with gateway(served.address) as process:
        for _ in range(2):
            process.process.send_signal(number)
            assert process.post("v1/PredictTails", QUERY)[0] == 200
        process.process.send_signal(signal.SIGQUIT)
        assert process.process.wait(20) == 0


def test_a_hangup_reads_the_certificate_again_and_keeps_it_where_the_new_one_is_unusable(
    served: ServerProcess, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    used = Pair(tmp_path / "used.crt", tmp_path / "used.key")

    def put(pair: Pair) -> None:
        shutil.copy(pair.key, used.key)
        shutil.copy(pair.cert, used.cert)

    first, second = authority.issue("first"), authority.issue("second")
    put(first)
    flags = "--tls-cert", str(used.cert), "--tls-key", str(used.key)
    with gateway(served.address, *flags) as process:
        assert shown(process) == first.cert.read_text()
        put(second)
        process.process.send_signal(signal.SIGHUP)
        eventually(lambda: shown(process) == second.cert.read_text())
        for unusable in ("no certificate", first.cert.read_text()):  # whose key is another one
            used.cert.write_text(unusable)
            process.process.send_signal(signal.SIGHUP)
            assert shown(process) == second.cert.read_text()
            assert shown(process) == second.cert.read_text()


def shown(process: GatewayProcess) -> str:
    """The certificate that a new connection gets."""
    return ssl.get_server_certificate(("127.0.0.1", process.ready["port"]))
