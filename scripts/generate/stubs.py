"""Generate ``mulde/v1`` from ``protos/mulde/v1``.

Stubs check at import that the installed protobuf and grpcio are at least as new as the generator.
So they are made by the oldest generator that has wheels for Python 3.11, in an environment of its
own, and serve every later release. ``tests/contract`` compares the committed stubs with the protos
without that environment.

Usage: ``python scripts/generate/stubs.py``
"""

from __future__ import annotations

import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ("grpcio-tools==1.62.3", "googleapis-common-protos==1.63.0", "setuptools<70")


def main() -> None:
    """Build the generator's environment, run it, remove it."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *GENERATOR], check=True)
        generate(python)


def generate(python: Path) -> None:
    """Write messages and types for every proto, service stubs for those that have a service."""
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    protoc: list[str | Path] = [python, "-m", "grpc_tools.protoc", "-I", "protos", "-I", site]
    protos = sorted(path.relative_to(ROOT) for path in (ROOT / "protos").rglob("*.proto"))
    services = [path for path in protos if "\nservice " in (ROOT / path).read_text("utf-8")]
    subprocess.run([*protoc, "--python_out=.", "--pyi_out=.", *protos], check=True, cwd=ROOT)
    subprocess.run([*protoc, "--grpc_python_out=.", *services], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
