"""Does a page's code do what the page says? Runs its fenced blocks in order, in an empty folder.

* ``sh``: runs in bash and stops at the first failure; ``mulde serve`` goes to the background, and
  the one before it is stopped. ``make`` only says what it would do.
* ``python``: runs as a script, unless the text before it ends in "as `NAME`:"; then it is saved.
* Other languages (``toml``) are saved in the same way, or passed over.
* ``text``: what the block before it printed: each line must occur in order, numbers aside; a line
  ``...`` stands for what was left out. ``text varies`` holds answers of a model that another
  processor may train a little differently: only the first line must occur. ``text recorded`` was
  printed elsewhere and is passed over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"\bas `([\w.-]+)`:\s*$")
SERVING = re.compile(r"^(mulde serve (?!.*--check).*)$", re.MULTILINE)
FRAME = re.compile(r"[\s┏━┳┓┃┡╇┩│├┼┤└┴┘─]+")
NUMBER = re.compile(r"\b[0-9a-f]{12,}\b|-?\d[\d.,]*%?(e-?\d+)?")
_SHIMS = {
    "python": f'exec "{sys.executable}" "$@"',
    "mulde": f'exec "{sys.executable}" -m mulde.cli "$@"',
    "grpcurl": f'exec "{sys.executable}" -m tests.contract.grpcurl "$@"',
    "make": f'exec "$MAKE_PROGRAM" --no-print-directory -n -C "{ROOT}" "$@"',
}


@dataclass(frozen=True)
class Block:
    """A fenced block, the line it starts at, and the name of the file it is saved as."""

    language: str
    options: str
    text: str
    line: int
    file: str | None


@dataclass(frozen=True)
class Shown:
    """What a page shows of an output, and what was printed."""

    block: Block
    printed: str

    def missing(self) -> str | None:
        """The first line that is shown and was not printed (after those before it), if any."""
        lines = [line for line in self.block.text.splitlines() if FRAME.sub("", line)]
        if "varies" in self.block.options:
            lines = lines[:1]
        printed = iter(map(_comparable, self.printed.splitlines()))
        for line in lines:
            if line.strip() != "..." and _comparable(line) not in printed:
                return line
        return None


def _comparable(line: str) -> str:
    """A line without numbers, frames and the space that depends on both."""
    return FRAME.sub(" ", NUMBER.sub("#", line)).strip()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text("utf-8")
    found, end = [], 0
    for fence in FENCE.finditer(text):
        named = SAVED.search(text[end : fence.start()].rstrip() + "\n")
        line = text.count("\n", 0, fence.start()) + 1
        name = named.group(1) if named else None
        found.append(Block(fence.group(1), fence.group(2), fence.group(3), line, name))
        end = fence.end()
    return found


def walk(page: Path, folder: Path) -> Iterator[Shown]:
    """Run a page's blocks in a folder.

    Raises:
        AssertionError: for a command that fails, with the place of its block and what it said.
    """
    printed = ""
    with Session(folder) as session:
        for block in blocks(page):
            where = f"{page.name}:{block.line}"
            if block.language == "text":
                if "recorded" not in block.options:
                    yield Shown(block, printed)
            elif block.file is not None:
                (folder / block.file).write_text(session.localised(block.text), encoding="utf-8")
            elif block.language == "python":
                (folder / "block.py").write_text(session.localised(block.text), encoding="utf-8")
                printed = session.run("python block.py", where)
            elif block.language == "sh":
                parts = SERVING.split(block.text.replace("\\\n", " "))
                printed = "".join(session.run(part, where) for part in parts if part.strip())


class Session:
    """A terminal in a folder, and a second one for the server."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.server: subprocess.Popen[str] | None = None
        shims = folder / ".bin"
        shims.mkdir()
        for name, command in _SHIMS.items():
            (shims / name).write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
            (shims / name).chmod(0o755)
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("MULDE_", "MAKE"))}
        self.environment = {
            **plain,
            "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MAKE_PROGRAM": shutil.which("make") or "make",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
            "MULDE_SERVER__GRPC_PORT": "0",
            "MULDE_SERVER__METRICS_PORT": "0",
        }

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def localised(self, text: str) -> str:
        """Text that names the default port, with that of this session's server."""
        return text.replace("localhost:50051", f"localhost:{self.port}")

    def run(self, command: str, where: str) -> str:
        """What a command prints; a server's first line."""
        if SERVING.match(command):
            return self.serve(command, where)
        done = subprocess.run(
            ["bash", "-e", "-c", self.localised(command)],
            cwd=self.folder,
            env={**self.environment, "MULDE_ADDRESS": f"localhost:{self.port}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{where}: {command}\n{done.stdout}"
        return done.stdout

    def serve(self, command: str, where: str) -> str:
        """Start a server instead of the one that runs."""
        self.stop()
        self.server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert line, f"{where}: {command} ended with status {self.server.wait()}"
        self.port = json.loads(line)["grpc_port"]
        return line

    def stop(self) -> None:
        """Stop the server, which must end well."""
        if self.server is not None:
            self.server.terminate()
            status = self.server.wait(30)
            assert self.server.stdout is not None
            self.server.stdout.close()
            self.server = None
            assert status == 0
