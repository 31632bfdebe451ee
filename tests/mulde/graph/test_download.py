"""Against a real HTTP server that drops, lies, is busy, or knows no ranges."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest

from mulde.errors import DatasetError
from mulde.graph.downloading.download import ATTEMPTS, RemoteFile, download, new_client

CONTENT = np.random.default_rng(7).bytes(300_000)
OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


@dataclass
class Behaviour:
    """What the server does; each request takes the next entry of ``script``, the last one stays."""

    content: bytes = CONTENT
    ranges: bool = True
    script: list[str] = field(default_factory=lambda: ["serve"])
    asked: list[str | None] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        told = self.behaviour
        told.asked.append(self.headers["Range"])
        action = told.script.pop(0) if len(told.script) > 1 else told.script[0]
        if action.isdigit():
            self._status(int(action))
        elif action == "shifted":
            self._body(206, told.content[9:], 9)
        else:
            start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if told.ranges else 0
            self._body(206 if start else 200, told.content[start:], start, drop=action == "drop")

    def _status(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self, code: int, body: bytes, start: int, drop: bool = False) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        if code == 206:
            end = start + len(body)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if drop else body)
        self.close_connection = drop

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    behaviour = Behaviour()
    handler = type("Told", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", behaviour
        running.shutdown()
        thread.join()


@dataclass
class Session:
    """One file to have, and everything that was reported about it."""

    remote: RemoteFile
    into: Path
    behaviour: Behaviour
    reports: list[tuple[str, int, int]] = field(default_factory=list)

    def get(self) -> Path:
        with new_client() as client:
            return download(client, self.remote, self.into, self._report, longest_wait_s=0.01)

    def _report(self, name: str, done: int, total: int) -> None:
        self.reports.append((name, done, total))

    @property
    def part(self) -> Path:
        return self.into / "file.txt.part"

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.into.iterdir())


@pytest.fixture
def session(server: tuple[str, Behaviour], tmp_path: Path) -> Session:
    home, behaviour = server
    digest = hashlib.sha256(CONTENT).hexdigest()
    remote = RemoteFile(f"{home}/some/file.txt", len(CONTENT), digest)
    return Session(remote, tmp_path / "in" / "folder", behaviour)


def test_a_file_arrives_whole_and_alone(session: Session) -> None:
    assert session.get().read_bytes() == CONTENT
    assert session.left == ["file.txt"]


def test_progress_rises_to_the_size(session: Session) -> None:
    session.get()
    done = [done for _, done, _ in session.reports]
    assert done == sorted(done)
    assert len(set(done)) > 2
    assert session.reports[-1] == ("file.txt", len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_asked_for(session: Session) -> None:
    session.get()
    session.behaviour.asked.clear()
    session.get()
    assert session.behaviour.asked == []


def test_a_file_of_another_content_is_refused_and_kept(session: Session) -> None:
    session.into.mkdir(parents=True)
    mine = session.into / "file.txt"
    mine.write_text("my own work")
    with pytest.raises(DatasetError, match="another file has this name; move it away"):
        session.get()
    assert mine.read_text() == "my own work"
    assert session.behaviour.asked == []


def test_a_dropped_connection_goes_on_where_it_broke(session: Session) -> None:
    session.behaviour.script = ["drop", "drop", "serve"]
    assert session.get().read_bytes() == CONTENT
    first, second, third = session.behaviour.asked
    assert first is None
    assert second is not None
    assert third is not None
    assert 0 < int(second[6:-1]) < int(third[6:-1]) < len(CONTENT)


def test_another_run_goes_on_where_the_first_gave_up(session: Session) -> None:
    session.behaviour.script = ["drop", "503"]
    with pytest.raises(DatasetError, match=r"HTTP 503 .*; 150,000 bytes are kept"):
        session.get()
    assert session.left == ["file.txt.part"]
    session.behaviour.script = ["serve"]
    session.behaviour.asked.clear()
    assert session.get().read_bytes() == CONTENT
    assert session.behaviour.asked == ["bytes=150000-"]
    assert session.left == ["file.txt"]


def test_an_interrupt_keeps_what_has_come(session: Session) -> None:
    def interrupt(name: str, done: int, total: int) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with new_client() as client, pytest.raises(KeyboardInterrupt):
        download(client, session.remote, session.into, interrupt)
    assert 100_000 < session.part.stat().st_size < len(CONTENT)
    assert session.get().read_bytes() == CONTENT
    assert session.behaviour.asked[-1] is not None


def test_a_server_without_ranges_sends_all_again(session: Session) -> None:
    session.behaviour.ranges = False
    session.behaviour.script = ["drop", "serve"]
    assert session.get().read_bytes() == CONTENT


def test_a_range_that_was_not_asked_for_is_not_used(session: Session) -> None:
    session.behaviour.script = ["drop", "shifted", "serve"]
    assert session.get().read_bytes() == CONTENT
    assert len(session.behaviour.asked) == 3


def test_a_part_that_is_complete_needs_no_server(session: Session) -> None:
    session.into.mkdir(parents=True)
    session.part.write_bytes(CONTENT)
    assert session.get().read_bytes() == CONTENT
    assert session.behaviour.asked == []


@pytest.mark.parametrize(
    "left", [b"x" * 1000, OTHER, CONTENT + b"x"], ids=["short", "full", "long"]
)
def test_a_part_of_another_file_is_dropped_and_all_asked_for(session: Session, left: bytes) -> None:
    session.into.mkdir(parents=True)
    session.part.write_bytes(left)
    assert session.get().read_bytes() == CONTENT
    assert session.behaviour.asked[-1] is None


@pytest.mark.parametrize("content", [OTHER, CONTENT + b"x", CONTENT * 9], ids=["bit", "byte", "9x"])
def test_other_bytes_never_appear_under_the_name(session: Session, content: bytes) -> None:
    session.behaviour.content = content
    with pytest.raises(
        DatasetError, match="sent another file, which was removed: expected 300,000"
    ):
        session.get()
    assert session.left == []
    assert len(session.behaviour.asked) == 1


def test_a_longer_answer_is_not_read_to_its_end(session: Session) -> None:
    session.behaviour.content = CONTENT * 9
    with pytest.raises(DatasetError, match=r"found 3\d\d,\d\d\d with"):
        session.get()


@pytest.mark.parametrize("status", [404, 403, 416])
def test_a_refusal_is_final_and_leaves_nothing(session: Session, status: int) -> None:
    session.behaviour.script = [str(status)]
    with pytest.raises(DatasetError, match=str(status)) as caught:
        session.get()
    assert session.remote.url in str(caught.value)
    assert len(session.behaviour.asked) == 1
    assert session.left == []


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_server_is_asked_again(session: Session, status: int) -> None:
    session.behaviour.script = [str(status), str(status), "serve"]
    assert session.get().read_bytes() == CONTENT


def test_a_server_that_stays_busy_is_given_up(session: Session) -> None:
    session.behaviour.script = ["503"]
    with pytest.raises(DatasetError, match="HTTP 503"):
        session.get()
    assert len(session.behaviour.asked) == ATTEMPTS
    assert session.left == []


def test_no_server_is_an_error_of_our_own(session: Session) -> None:
    remote = RemoteFile("http://127.0.0.1:9/file.txt", 1, "")
    session.remote = remote
    with pytest.raises(DatasetError, match=r"cannot be downloaded from http://127\.0\.0\.1:9/"):
        session.get()


def test_two_processes_do_not_write_one_file(session: Session) -> None:
    session.into.mkdir(parents=True)
    with session.part.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="is being downloaded by another process"):
            session.get()
    assert session.behaviour.asked == []


def test_a_folder_that_is_a_file_is_an_error_of_our_own(session: Session) -> None:
    session.into.parent.mkdir()
    session.into.write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        session.get()


def test_a_full_disk_is_an_error_of_our_own(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match="cannot be written: No space left on device"):
        session.get()
    assert session.left == ["file.txt.part"]


def test_compressed_answers_are_not_asked_for() -> None:
    with new_client() as client:
        assert client.headers["Accept-Encoding"] == "identity"
        assert isinstance(client, httpx.Client)
