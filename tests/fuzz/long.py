"""Fuzzes one target after the other and prints a line of JSON for each; ``make fuzz``.

``python -m tests.fuzz.long WORK SECONDS SEED [TARGET ...]``: seconds for each target. The status is
1 if one broke; the input that did it lies in ``WORK/TARGET/found``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS

_STATISTICS = {"inputs": "number_of_executed_units", "peak_mib": "peak_rss_mb"}


def fuzz(name: str, work: Path, seconds: int, seed: int) -> dict[str, Any]:
    """Inputs tried, those kept for reaching something new, crashes and peak memory."""
    command = [sys.executable, "-m", "tests.fuzz.driver", name, str(work), str(seconds), str(seed)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
    found = {key: _statistic(done.stderr, label) for key, label in _STATISTICS.items()}
    kept = sum(1 for _ in (work / name / "corpus").iterdir())
    crashes = sum(1 for _ in (work / name / "found").iterdir())
    return {"target": name, "seconds": seconds, **found, "kept": kept, "crashes": crashes,
            "status": done.returncode}  # fmt: skip


def _statistic(text: str, label: str) -> int | None:
    """What libFuzzer says at the end; None where it did not come so far."""
    match = re.search(rf"stat::{label}:\s*(\d+)", text)
    return int(match[1]) if match else None


def main(work: Path, seconds: int, seed: int, names: list[str]) -> int:
    """Fuzz the named targets, or all."""
    broken = 0
    for name in names or TARGETS:
        told = fuzz(name, work, seconds, seed)
        print(json.dumps(told), flush=True)
        broken |= told["status"] != 0 or told["crashes"] > 0
    return broken


if __name__ == "__main__":
    place, length, number, *chosen = sys.argv[1:]
    sys.exit(main(Path(place), int(length), int(number), chosen))
