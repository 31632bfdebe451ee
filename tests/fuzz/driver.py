"""Fuzzes one target with atheris (libFuzzer), which follows what the code does with the bytes.

``python -m tests.fuzz.driver TARGET WORK SECONDS SEED`` in an environment that has atheris, see
``make fuzz``. Inputs that reached something new are kept in ``WORK/TARGET/corpus``, one that broke
it in ``WORK/TARGET/found``, and the process ends with another status than 0.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mulde", "serving"]):
    from tests.fuzz.targets import seeds, target

MOST_BYTES = 16_384
MOST_MIB = 1024
"""Of memory: more is taken for a crash."""


def main(name: str, work: Path, seconds: int, seed: int) -> None:
    corpus, found = work / name / "corpus", work / name / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        for number, content in enumerate(seeds(name, scratch)):
            (corpus / f"seed-{number}").write_bytes(content)
    scratch = Path(tempfile.mkdtemp())  # libFuzzer ends the process itself
    try_bytes = target(name, scratch)
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={MOST_BYTES}",
        f"-rss_limit_mb={MOST_MIB}",
        f"-artifact_prefix={found}/",
        "-timeout=120",  # of the clock: others may have the machine meanwhile
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: try_bytes(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    named, place, length, number = sys.argv[1:]
    main(named, Path(place), int(length), int(number))
