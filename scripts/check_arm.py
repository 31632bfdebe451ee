"""Run the server for aarch64 under emulation and compare its answers with this machine's.

Usage: ``python -m scripts.check_arm MODEL`` on Debian, with ``apt-get`` and ``dpkg``. Everything is
unpacked in ``build/arm``; nothing of the host is changed, and no rights are needed.

The release is trixie: its qemu-user 10 runs ONNX Runtime, and version 7.2 crashes at the import.
The wheels are those of ``deploy/serving.lock``, by their hashes, for glibc 2.28 and newer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.record_files import write_json
from mulde.bundle.bundle import open_bundle
from mulde.client import Client
from mulde.client.answers import Answers

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "records" / "arm"
PLACE = ROOT / "build" / "arm"
RELEASE, PYTHON = "trixie", "3.13"
PACKAGES = (
    "qemu-user:amd64",
    f"python{PYTHON}-minimal:arm64",
    f"libpython{PYTHON}-stdlib:arm64",
    "libstdc++6:arm64",
)
HOST_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
QUERIES, BATCH, K = 200, 8, 10
TOLERANCE = 1e-6
"""Of the largest score: the encoder computes in float32, in another order of summation."""


def fetch_packages() -> None:
    """Unpack the emulator into ``host`` and Python for arm64 into ``root``."""
    for folder in (
        "state/lists/partial",
        "cache/archives/partial",
        "host",
        "root/usr/lib",
        "root/usr/bin",
    ):
        (PLACE / folder).mkdir(parents=True, exist_ok=True)
    (PLACE / "status").touch()
    sources = HOST_SOURCES.read_text("utf-8").split("\n\n")[0]
    sources = re.sub(r"^Suites:.*$", f"Suites: {RELEASE}", sources, flags=re.MULTILINE)
    (PLACE / "debian.sources").write_text(sources + "\n", "utf-8")
    (PLACE / "apt.conf").write_text(
        f'Dir::State "{PLACE}/state";\nDir::Cache "{PLACE}/cache";\n'
        f'Dir::State::status "{PLACE}/status";\n'
        f'Dir::Etc::SourceList "{PLACE}/debian.sources";\nDir::Etc::SourceParts "-";\n'
        'APT::Architectures { "amd64"; "arm64"; };\n',
        "utf-8",
    )
    apt = {**os.environ, "APT_CONFIG": str(PLACE / "apt.conf")}
    install = [
        "apt-get",
        "-qq",
        "install",
        "--yes",
        "--download-only",
        "--no-install-recommends",
        *PACKAGES,
    ]
    subprocess.run(["apt-get", "-qq", "update"], env=apt, check=True)
    subprocess.run(install, env=apt, check=True, stdout=subprocess.DEVNULL)
    for name in ("lib", "bin"):
        link = PLACE / "root" / name
        if not link.is_symlink():
            link.symlink_to(f"usr/{name}")
    for package in (PLACE / "cache" / "archives").glob("*.deb"):
        if package.name.startswith("qemu-user_"):
            subprocess.run(["dpkg", "-x", package, PLACE / "host"], check=True)
        elif package.name.endswith("_arm64.deb"):
            subprocess.run(["dpkg", "-x", package, PLACE / "root"], check=True)


def fetch_wheels() -> None:
    """Unpack a wheel for aarch64 of each line of the lock into ``site``."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--upgrade",
        "--target",
        str(PLACE / "site"),
    ]
    wanted = ["--platform=manylinux2014_aarch64", "--platform=manylinux_2_28_aarch64"]
    wanted += [f"--python-version={PYTHON}", "--implementation=cp"]
    wanted += [f"--abi={abi}" for abi in ("cp" + PYTHON.replace(".", ""), "abi3", "none")]
    lock = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", "deploy/serving.lock"]
    subprocess.run([*pip, *wanted, *lock], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)


@contextmanager
def served(python: Sequence[str | Path], env: Mapping[str, str], model: Path) -> Iterator[str]:
    """Serve a bundle until the end of the block; the value is the address."""
    command = [
        *python,
        "-c",
        "from mulde.cli import main; main()",
        "serve",
        model,
        "--grpc-port",
        "0",
    ]
    process = subprocess.Popen(
        [str(part) for part in [*command, "--metrics-port", "0"]],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        try:
            yield f"127.0.0.1:{json.loads(output.readline())['grpc_port']}"
        finally:
            process.terminate()
            process.wait(60)


def ask(address: str, model: Path) -> list[Answers]:
    """Ask 200 questions of random entities, tails and heads in turn, in batches of 8."""
    names = open_bundle(model).vocabulary
    rng = np.random.default_rng(0)
    entities = rng.choice(np.array(names.entities.ids), QUERIES).tolist()
    relations = rng.choice(np.array(names.relations.ids), QUERIES).tolist()
    replies = []
    with Client(address, timeout_s=300.0) as client:
        for number, start in enumerate(range(0, QUERIES, BATCH)):
            part = slice(start, start + BATCH)
            if number % 2:
                replies.append(client.predict_heads(relations[part], entities[part], k=K))
            else:
                replies.append(client.predict_tails(entities[part], relations[part], k=K))
    return replies


def main(model: str) -> int:
    """Fetch, serve, ask and compare; 1 where an answer differs."""
    bundle = Path(model)
    fetch_packages()
    fetch_wheels()
    root = PLACE / "root"
    emulator: list[str | Path] = [PLACE / "host/usr/bin/qemu-aarch64", "-L", root]
    emulator.append(root / f"usr/bin/python{PYTHON}")
    paths = {"PYTHONHOME": f"{root}/usr", "PYTHONPATH": f"{ROOT}:{PLACE}/site"}
    machine = subprocess.run(
        [*emulator, "-c", "import platform; print(platform.machine(), platform.python_version())"],
        env={**os.environ, **paths},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    with served([sys.executable], {"PYTHONPATH": str(ROOT)}, bundle) as address:
        expected = ask(address, bundle)
    begun = time.perf_counter()
    with served(emulator, paths, bundle) as address:
        started_s = time.perf_counter() - begun
        found = ask(address, bundle)
    same = sum(one.ids == other.ids for one, other in zip(expected, found, strict=True)) * BATCH
    scores = np.concatenate([answers.scores for answers in expected])
    apart = np.abs(scores - np.concatenate([answers.scores for answers in found]))
    record = {
        "model": bundle.name,
        "machine": machine[0],
        "python": machine[1],
        "queries": QUERIES,
        "k": K,
        "same_ids": same,
        "largest_score_difference": float(apart.max()),
        "median_score_difference": float(np.median(apart)),
        "largest_score": float(np.abs(scores).max()),
        "start_s": round(started_s, 1),
    }
    write_json(RECORDS / f"{bundle.name}.json", record)
    sys.stdout.write(json.dumps(record) + "\n")
    return 0 if same == QUERIES and apart.max() <= TOLERANCE * np.abs(scores).max() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
