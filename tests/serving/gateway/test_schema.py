"""Requests out of the whole space of the OpenAPI document, against the real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.gateway import GatewayProcess
from tests.support.server import environment

EXAMPLES = 15


def test_no_request_leads_to_a_fault_or_an_undescribed_answer(
    web: GatewayProcess, tmp_path: Path
) -> None:
    """Schemathesis sends requests that fit the document, and requests that do not.

    The limits of names and of k depend on the model, so a request that fits may be refused; that
    positive requests succeed is left out. So is the type of content: an address that is longer than
    the HTTP parser takes is refused in plain text, before the gateway sees it.
    """
    checks = (
        "not_a_server_error",
        "status_code_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", web.url + "openapi.json"),
        *("--url", web.url, "--checks", ",".join(checks), "--max-examples", str(EXAMPLES)),
        *("--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color"),
        *("--exclude-path-regex", "Load|Unload|Reload|AddFacts|RemoveFacts"),
    ]
    done = subprocess.run(
        command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
