"""The files that one PredictTails enters: a reader of one request reads these, and no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc

from mulde.v1 import prediction_pb2
from tests.support.server import ROOT, environment, method_of_bytes
from tests.support.toy import Toy

METHOD = "/mulde.v1.LinkPredictionService/PredictTails"
REQUEST_PATH = {
    "mulde/bundle/facts/known_facts.py",
    "mulde/bundle/entities/vocabulary.py",
    "mulde/evaluation/calibration.py",
    "mulde/storage/sorted_lookup.py",
    "mulde/storage/strings.py",
    "serving/engine/engine.py",
    "serving/engine/entity_table.py",
    "serving/engine/index/base.py",
    "serving/engine/index/int8.py",
    "serving/engine/index/scan.py",
    "serving/engine/loading.py",
    "serving/engine/overlay.py",
    "serving/engine/results.py",
    "serving/engine/retriever.py",
    "serving/engine/scoring.py",
    "serving/engine/triples.py",
    "serving/process/monitoring/metrics.py",
    "serving/registry/batcher.py",
    "serving/registry/entity_resolver.py",
    "serving/registry/registry.py",
    "serving/rpc/admission.py",
    "serving/rpc/caller_waits.py",
    "serving/rpc/handlers.py",
    "serving/rpc/prediction.py",
    "serving/rpc/request.py",
    "serving/rpc/response.py",
}


def request(head: str) -> bytes:
    message = prediction_pb2.PredictTailsRequest(heads=[head], relations=["P1"])
    return message.SerializeToString()


def entered_by_one_call(bundle: Path, listing: Path) -> list[str]:
    """Files that the call threads of a real server enter for one query with a new name."""
    command = [sys.executable, "-m", "tests.support.traced_server", str(bundle), str(listing)]
    with subprocess.Popen(
        command,
        env=environment(),
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            ask = method_of_bytes(channel, METHOD)
            ask(request("Q0000001"), timeout=30)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "listening\n"
            ask(request("Q0000002"), timeout=30)
            process.stdin.close()
            assert process.wait(30) == 0
    return listing.read_text().splitlines()


def test_one_prediction_enters_few_files(served_toy: Toy, tmp_path: Path) -> None:
    entered = entered_by_one_call(served_toy.path, tmp_path / "listing")
    assert "serving/rpc/handlers.py" in entered
    assert set(entered) - REQUEST_PATH == set()
