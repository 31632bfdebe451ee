"""Folders that appear whole or not at all, whenever the writer dies."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mulde.storage import atomic

WRITER = """
import sys
from pathlib import Path
from mulde.storage.atomic import new_folder, publish

target = Path(sys.argv[1])
for number in range(100_000):
    with new_folder(target) as folder:
        for name in "abc":
            (folder / name).write_text(str(number))
        publish(folder, target, overwrite=True)
"""


def write(target: Path, text: str, *, overwrite: bool = False) -> None:
    with atomic.new_folder(target) as folder:
        (folder / "file").write_text(text)
        atomic.publish(folder, target, overwrite=overwrite)


def test_a_folder_has_its_name_only_when_it_is_published(tmp_path: Path) -> None:
    with atomic.new_folder(tmp_path / "x") as folder:
        (folder / "file").write_text("1")
        assert not (tmp_path / "x").exists()
        assert folder.name.startswith(".")
        atomic.publish(folder, tmp_path / "x", overwrite=False)
    assert (tmp_path / "x" / "file").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic.new_folder(tmp_path / "x"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "x", "old")
    with pytest.raises(FileExistsError):
        write(tmp_path / "x", "new")
    assert (tmp_path / "x" / "file").read_text() == "old"


@pytest.mark.parametrize("platform", [sys.platform, "elsewhere"])
def test_overwriting_leaves_the_new_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    write(tmp_path / "x", "old")
    write(tmp_path / "x", "new", overwrite=True)
    assert (tmp_path / "x" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two renames are needed")
def test_a_writer_killed_at_any_time_leaves_one_whole_folder(tmp_path: Path) -> None:
    target = tmp_path / "x"
    for delay_s in (0.0, 0.003, 0.011, 0.023, 0.037):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)])
        while not target.exists():
            assert writer.poll() is None
            time.sleep(0.001)
        time.sleep(delay_s)
        writer.kill()
        writer.wait()
        texts = {(target / name).read_text() for name in "abc"}
        assert len(texts) == 1


def left_behind(target: Path) -> set[str]:
    """Names beside the target."""
    return {path.name for path in target.parent.iterdir()} - {target.name}


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "x"
    code = WRITER.replace("publish(folder, target", "os.kill(os.getpid(), 9)  # publish(")
    for _ in range(3):
        subprocess.run([sys.executable, "-c", "import os\n" + code, str(target)], check=False)
        assert len(left_behind(target)) == 1
    write(target, "whole")
    assert left_behind(target) == set()


def test_the_folder_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with atomic.new_folder(target) as first:
        (first / "file").write_text("first")
        write(target, "second")
        assert (first / "file").read_text() == "first"
        atomic.publish(first, target, overwrite=True)
    assert (target / "file").read_text() == "first"
    assert left_behind(target) == set()


def test_folders_of_other_targets_and_other_names_are_left_alone(tmp_path: Path) -> None:
    kept = {".y.0123456789ab", ".x.0123456789", ".x.0123456789abc", ".x.0123456789ab.new", "x.old"}
    for name in kept:
        (tmp_path / name).mkdir()
    write(tmp_path / "x", "new")
    assert left_behind(tmp_path / "x") == kept


def test_an_old_folder_that_had_stepped_aside_comes_back(tmp_path: Path) -> None:
    """Where names cannot be exchanged in one step, and the writer dies between its two."""
    target, writer = tmp_path / "x", tmp_path / ".x.0123456789ab"
    write(target, "old")
    target.rename(writer.with_name(writer.name + ".old"))
    writer.mkdir()
    with atomic.new_folder(target):
        assert (target / "file").read_text() == "old"
    assert left_behind(target) == set()


def test_an_old_folder_is_removed_once_the_new_one_is_there(tmp_path: Path) -> None:
    target = tmp_path / "x"
    write(target, "new")
    (tmp_path / ".x.0123456789ab.old").mkdir()
    write(target, "newer", overwrite=True)
    assert (target / "file").read_text() == "newer"
    assert left_behind(target) == set()


def write_half(target: Path) -> None:
    with atomic.new_file(target) as draft:
        draft.write_text("half")
        raise RuntimeError


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(target)
    assert target.read_text() == "old"
    with atomic.new_file(target) as draft:
        draft.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert left_behind(target) == set()


HOLDER = """
import sys
from pathlib import Path
from mulde.storage.atomic import try_lock

assert try_lock(Path(sys.argv[1])) is not None
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["a file", "a new file", "a folder"])
def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a file":
        path.write_text("content")
    command = [sys.executable, "-c", HOLDER, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert atomic.try_lock(path) is None
        holder.kill()
    lock = atomic.try_lock(path)
    assert lock is not None
    atomic.unlock(lock)
    if kind == "a file":
        assert path.read_text() == "content"


def test_a_lock_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.try_lock(tmp_path / "nowhere" / "x")
