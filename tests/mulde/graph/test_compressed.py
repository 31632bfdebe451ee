"""Packed files: what they may hold, and that a bomb is refused before it fills memory."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from mulde.errors import DatasetError
from mulde.graph.reading.compressed import ALWAYS_BYTES, MOST_BYTES, most_bytes, unpack
from tests.support.tiny import write_tiny_graph

MIB = 1 << 20
READ_WITH_LITTLE_MEMORY = """
import resource, sys
from mulde.errors import DatasetError
from mulde.graph.graph import read_folder
import pyarrow.compute, pyarrow.csv, mulde.graph.reading.intern  # mapped before the limit

held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 30), held + (1 << 30)))
try:
    read_folder(sys.argv[1])
except DatasetError as error:
    print(error)
"""


def zeros(count: int) -> bytes:
    """gzip of so many bytes."""
    return gzip.compress(bytes(count), compresslevel=9, mtime=0)


def test_the_bound_grows_with_the_file_and_ends() -> None:
    assert most_bytes(0) == most_bytes(1000) == ALWAYS_BYTES == 64 * MIB
    assert most_bytes(10 * MIB) == 1000 * MIB
    assert most_bytes(1000 * MIB) == MOST_BYTES == 4096 * MIB


def test_as_much_as_is_allowed_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "train.txt.gz"
    path.write_bytes(zeros(ALWAYS_BYTES))
    assert unpack(path) == bytes(ALWAYS_BYTES)


def test_a_file_of_several_parts_is_unpacked_whole(tmp_path: Path) -> None:
    path = tmp_path / "train.txt.gz"
    path.write_bytes(gzip.compress(b"a\tr\tb\n") + gzip.compress(b"b\tr\tc\n"))
    assert unpack(path) == b"a\tr\tb\nb\tr\tc\n"


def test_one_byte_more_is_refused_with_file_bound_and_size(tmp_path: Path) -> None:
    packed, path = zeros(ALWAYS_BYTES + 1), tmp_path / "train.txt.gz"
    path.write_bytes(packed)
    with pytest.raises(DatasetError) as caught:
        unpack(path)
    assert caught.value.path == path
    for told in (f"{ALWAYS_BYTES:,} bytes", f"{len(packed):,}", "found more"):
        assert told in str(caught.value)


def test_a_bomb_in_a_graph_folder_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    folder = write_tiny_graph(tmp_path / "tiny")
    (folder / "valid.txt").unlink()
    (folder / "valid.txt.gz").write_bytes(zeros(64 * MIB) * 40)  # 2.5 GiB of 2.5 MiB
    done = subprocess.run(
        [sys.executable, "-c", READ_WITH_LITTLE_MEMORY, str(folder)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "valid.txt.gz: expected at most" in done.stdout
