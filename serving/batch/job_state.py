"""What a long job has done so far: a folder beside its result, from which it can go on.

``.NAME.job/`` holds ``job.json`` (which job it is), and for each finished shard its part
of the result and a record, which is written last: a shard without a record was never done. Files
get their names only once they are whole and on the disk, so a job that was killed at any moment,
or a machine that lost its power, leaves nothing that could be mistaken for a shard.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mulde.errors import JobError
from mulde.storage.atomic import replace_file, try_lock, unlock

_JOB = "job.json"
_LOCK = "lock"
_PLACED = "placed.json"
_FINISHED = ".finished.json"


@dataclass(frozen=True)
class Tally:
    """What shards of a job amount to.

    Attributes:
        questions: that were asked, without those skipped.
        answers: all of them.
        exact: questions whose answers are certainly the exhaustive ones.
        skipped: questions with an unknown name.
    """

    questions: int = 0
    answers: int = 0
    exact: int = 0
    skipped: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.questions + other.questions,
            self.answers + other.answers,
            self.exact + other.exact,
            self.skipped + other.skipped,
        )

    @property
    def done(self) -> int:
        """Questions that were dealt with, one way or the other."""
        return self.questions + self.skipped


class JobState:
    """The folder of one job. Of two processes on the same job, the second is refused."""

    def __init__(self, target: Path, job: dict[str, Any], *, restart: bool = False) -> None:
        """Begin, or go on.

        Args:
            target: the result that the job will write.
            job: what it depends on; a job that was begun with others cannot go on.
            restart: throw away what there is.

        Raises:
            JobError: if another job was begun here, or its process still runs, or the folder
                cannot be written.
        """
        self.folder = self.folder_of(target)
        self._target, self._job = target, job
        self._take_lock()
        try:
            self._begin(restart)
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = try_lock(self.folder / _LOCK)
        except OSError as error:
            raise JobError(self._target, f"cannot be written: {error}") from error
        if self._lock is None:
            raise JobError(self._target, "another process is at work on it")

    def _begin(self, restart: bool) -> None:
        if restart:
            self._clear()
        begun = _read_job(self.folder)
        if begun is None:
            self._clear()  # parts without a job: it was killed before it had begun
            text = json.dumps(self._job, indent=1, sort_keys=True)
            write_whole(self.folder / _JOB, text.encode())
        elif begun != self._job:
            raise JobError(self._target, _difference(begun, self._job))

    @staticmethod
    def folder_of(target: Path) -> Path:
        """Where the state of a result is kept: beside it."""
        return target.with_name(f".{target.name}.job")

    @classmethod
    def has_placed(cls, target: Path, path: Path) -> bool:
        """Whether ``path`` is a file that the unfinished job of ``target`` gave its name."""
        placed = _read_placed(cls.folder_of(target)).get(str(path.absolute()), [])
        return _identity(path) in placed

    def place(self, draft: Path, path: Path) -> None:
        """Give a finished file its name, so that after a crash it is known to be this job's.

        A file that has the name from an earlier try stays known too: if this process is killed just
        before the new one takes the name, it is the old one that lies there.
        """
        placed = _read_placed(self.folder)
        placed[str(path.absolute())] = [*placed.get(str(path.absolute()), []), _identity(draft)]
        write_whole(self.folder / _PLACED, json.dumps(placed).encode())
        replace_file(draft, path)

    @classmethod
    def sweep(cls, target: Path) -> None:
        """Remove what is left of a finished job that was killed while it tidied up."""
        shutil.rmtree(cls._finished(target), ignore_errors=True)

    @classmethod
    def _finished(cls, target: Path) -> Path:
        folder = cls.folder_of(target)
        return folder.with_name(f"{folder.name}.done")

    @classmethod
    def tidy(cls, target: Path, job: dict[str, Any]) -> None:
        """Remove the folder of a finished job that was killed before it could do so itself.

        Raises:
            JobError: if its process is still at it.
        """
        cls.sweep(target)
        if _read_job(cls.folder_of(target)) == job:  # another job may have been begun since
            state = cls(target, job)
            try:
                state._remove_folder()
            finally:
                state.close()

    def _clear(self) -> None:
        # job.json goes first: without it nothing else counts.
        (self.folder / _JOB).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name not in (_LOCK, _PLACED):
                path.unlink(missing_ok=True)  # a worker of a killed run may move it

    def tally(self, number: int) -> Tally | None:
        """What shard ``number`` amounts to, if it is done."""
        return read_record(self.folder, number)

    def join(self, suffix: str, shards: Iterable[int], append: Callable[[Path], object]) -> None:
        """Append the parts with this suffix of some shards, in order, those that there are."""
        for number in shards:
            path = part_path(self.folder, number, suffix)
            if path.exists():
                append(path)

    def temporary(self) -> Path:
        """A name in the folder for a result in the making."""
        return self.folder / "result"

    @classmethod
    def has_finished(cls, target: Path) -> bool:
        """Whether some job that made ``target`` is on record; ``finished`` says if it is this."""
        return _finished_record(target).exists()

    @classmethod
    def finished(cls, target: Path, job: dict[str, Any], outputs: Sequence[Path]) -> Tally | None:
        """What the same job amounted to, if its files are those that it placed; else None."""
        try:
            record = json.loads(_finished_record(target).read_bytes())
            placed = [record["placed"].get(str(path.absolute()), []) for path in outputs]
            own = all(_identity(path) in known for path, known in zip(outputs, placed, strict=True))
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return None
        return Tally(**record["tally"]) if own and record["job"] == job else None

    def remove(self, tally: Tally) -> None:
        """Keep one small record of the job, whose result is in its place, and remove the rest.

        The record lets the same command find its own result, if it is killed after this.
        """
        placed = _read_placed(self.folder)
        record = {"job": self._job, "placed": placed, "tally": asdict(tally)}
        draft = self.folder / "finished"  # here, so that it goes with the folder after a crash
        draft.write_bytes(json.dumps(record).encode())
        replace_file(draft, _finished_record(self._target))
        self._remove_folder()
        self.close()

    def _remove_folder(self) -> None:
        self.sweep(self._target)
        self.folder.rename(self._finished(self._target))
        self.sweep(self._target)

    def close(self) -> None:
        """Let another process go on with the job."""
        unlock(self._lock)
        self._lock = None


def part_path(folder: Path, number: int, suffix: str) -> Path:
    """Where a part of shard ``number`` is kept."""
    return folder / f"{number:09d}.{suffix}"


def write_record(folder: Path, number: int, tally: Tally) -> None:
    """Say that shard ``number`` is done; its parts must be in their places."""
    write_whole(part_path(folder, number, "json"), json.dumps(asdict(tally)).encode())


def read_record(folder: Path, number: int) -> Tally | None:
    """What ``write_record`` wrote, or None."""
    try:
        return Tally(**json.loads(part_path(folder, number, "json").read_bytes()))
    except FileNotFoundError:
        return None


def write_whole(path: Path, content: bytes) -> None:
    """A file that is there with this content or not at all."""
    draft = draft_of(path)
    draft.write_bytes(content)
    replace_file(draft, path)


def draft_of(path: Path) -> Path:
    """A name for ``path`` in the making; no two processes share it."""
    return path.with_name(f"{path.name}.{os.getpid()}.draft")


def _finished_record(target: Path) -> Path:
    """Where a finished job is kept on record: a hidden file beside its result."""
    return target.with_name(f".{target.name}{_FINISHED}")


def _read_job(folder: Path) -> dict[str, Any] | None:
    """Which job a folder belongs to; None if it was never begun."""
    try:
        found: dict[str, Any] = json.loads((folder / _JOB).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JobError(folder / _JOB, f"cannot be read: {error}") from error
    return found


def _read_placed(folder: Path) -> dict[str, list[list[int]]]:
    """By path, what tells the files that took its name from others."""
    try:
        found: dict[str, list[list[int]]] = json.loads((folder / _PLACED).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise JobError(folder / _PLACED, f"cannot be read: {error}") from error
    return found


def _identity(path: Path) -> list[int]:
    """What tells a file from every other, and stays when it gets another name."""
    status = path.stat()
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


def _difference(begun: dict[str, Any], job: dict[str, Any]) -> str:
    key = min(key for key in begun.keys() | job.keys() if begun.get(key) != job.get(key))
    found = f"{key} was {begun.get(key)!r} and is now {job.get(key)!r}"
    return f"was begun as another job ({found}); ask for that, or begin anew with --restart"
