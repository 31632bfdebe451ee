"""Download one file over HTTP: resumed after an interrupt, verified before it gets its name.

It grows as ``NAME.part`` and gets its own name when its SHA-256 is the pinned one, so a file that
has its name is whole.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from io import BufferedRandom, BufferedReader
from pathlib import Path

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from mulde.errors import DatasetError
from mulde.storage.atomic import replace_file, try_lock, unlock

ATTEMPTS = 5
LONGEST_WAIT_S = 8.0
_BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)

Report = Callable[[str, int, int], None]  # file name, bytes so far, bytes in all


@dataclass(frozen=True)
class RemoteFile:
    """A file's address, size and digest."""

    url: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


class _TryAgainError(Exception):
    """An attempt failed, and the next one may succeed."""


def new_client() -> httpx.Client:
    """A client that asks for uncompressed bytes, since a compressed answer cannot be resumed."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "mulde"}
    timeout = httpx.Timeout(30.0, connect=10.0)
    return httpx.Client(headers=headers, timeout=timeout, follow_redirects=True)


def download(
    client: httpx.Client,
    remote: RemoteFile,
    into: Path,
    report: Report,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> Path:
    """Verify a file in a folder, or download it in up to ``ATTEMPTS`` attempts.

    Args:
        client: of ``new_client``.
        remote: the file.
        into: the folder; made if needed.
        report: called with the number of bytes so far.
        longest_wait_s: between two attempts; the waits are random and grow.

    Returns:
        The file's path.

    Raises:
        DatasetError: if the file cannot be downloaded or written, differs from its digest, is being
            downloaded by another process, or if other content is already there under its name.
    """
    target = into / remote.name
    try:
        if target.exists():
            with target.open("rb") as file:
                _refuse_other(file, target, remote, "another file has this name; move it away")
        else:
            into.mkdir(parents=True, exist_ok=True)
            with _partial(target) as part:
                _fill(client, remote, target, part, report, longest_wait_s)
                part.flush()
                replace_file(Path(part.name), target)
    except OSError as error:
        raise DatasetError(target, f"cannot be written: {error.strerror or error}") from error
    report(remote.name, remote.size_bytes, remote.size_bytes)
    return target


@contextmanager
def _partial(target: Path) -> Iterator[BufferedRandom]:
    """The growing file, for one process at a time; removed if it stays empty."""
    path = target.with_name(f"{target.name}.part")
    lock = try_lock(path)
    if lock is None:
        raise DatasetError(path, "is being downloaded by another process")
    try:
        with path.open("a+b") as part:
            yield part
    finally:
        if path.exists() and path.stat().st_size == 0:
            path.unlink()
        unlock(lock)


def _fill(
    client: httpx.Client,
    remote: RemoteFile,
    target: Path,
    part: BufferedRandom,
    report: Report,
    longest_wait_s: float,
) -> None:
    """Attempt until the file is whole."""
    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.5, max=longest_wait_s),
        retry=retry_if_exception_type((_TryAgainError, httpx.TransportError)),
        reraise=True,
    )
    try:
        attempts(_attempt, client, remote, target, part, report)
    except (_TryAgainError, httpx.HTTPError, httpx.InvalidURL) as error:
        came = part.seek(0, os.SEEK_END)
        kept = f"; {came:,} bytes are kept, run this again to go on" if came else ""
        raise DatasetError(
            target, f"cannot be downloaded from {remote.url}: {error}{kept}"
        ) from error


def _attempt(
    client: httpx.Client, remote: RemoteFile, target: Path, part: BufferedRandom, report: Report
) -> None:
    """Ask for what is missing, append it, verify all.

    Raises:
        _TryAgainError: if the server is busy, the answer ended too soon, or what an earlier attempt
            had left was not the beginning of this file.
        DatasetError: if what came in one piece is another file.
    """
    start = part.seek(0, os.SEEK_END)
    if start < remote.size_bytes:
        start = _append_rest(client, remote, part, start, report)
    try:
        _refuse_other(part, target, remote, f"{remote.url} sent another file, which was removed")
    except DatasetError as error:
        part.truncate(0)
        if start:
            raise _TryAgainError("what an earlier attempt had left is of no use") from error
        raise


def _append_rest(
    client: httpx.Client, remote: RemoteFile, part: BufferedRandom, start: int, report: Report
) -> int:
    """Append the bytes from ``start``, or replace all; returns from where on they are new."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    with client.stream("GET", remote.url, headers=headers) as answer:
        if answer.status_code in _BUSY or answer.is_server_error:
            raise _TryAgainError(f"HTTP {answer.status_code} {answer.reason_phrase}")
        answer.raise_for_status()
        if not _continues(answer, start):
            part.truncate(start := 0)
        done = start
        for chunk in answer.iter_raw():
            part.write(chunk)
            done += len(chunk)
            report(remote.name, min(done, remote.size_bytes), remote.size_bytes)
            if done > remote.size_bytes:
                return start  # another file; no need to have it all
    if done < remote.size_bytes:
        raise _TryAgainError(f"the answer ended after {done:,} of {remote.size_bytes:,} bytes")
    return start


def _continues(answer: httpx.Response, start: int) -> bool:
    """Whether the answer is the rest of the file; a server may ignore a range and send it all."""
    if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
        return False
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start:
        raise _TryAgainError(f"asked for the bytes from {start:,}, was sent others")
    return True


def _refuse_other(
    file: BufferedReader | BufferedRandom, path: Path, remote: RemoteFile, problem: str
) -> None:
    """Raise ``DatasetError`` with this problem unless the file is the one that is pinned."""
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != remote.sha256:
        size = file.seek(0, os.SEEK_END)
        expected = f"expected {remote.size_bytes:,} bytes with SHA-256 {remote.sha256}"
        raise DatasetError(path, f"{problem}: {expected}, found {size:,} with {found}")
