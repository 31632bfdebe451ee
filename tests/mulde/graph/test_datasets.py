from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mulde.commands import data
from mulde.errors import ConfigError, DatasetError
from mulde.graph.downloading import datasets
from mulde.graph.downloading.download import RemoteFile
from mulde.graph.graph import read_folder

TRIPLES = {
    "train.txt": b"a\tr\tb\nb\tr\tc\nb\tr\tc\n",
    "valid.txt": b"a\tr\tb\n",
    "test.txt": b"c\tr\td\n",
}
BENCHMARKS = os.environ.get("MULDE_DATA")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[str]:
    """The address of a server that has the three files."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name, content in TRIPLES.items():
        (folder / name).write_bytes(content)
    with serving(folder) as address:
        yield address


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server that has the files of a folder."""
    handler = partial(Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue with one graph, whose own home does not exist."""
    files = tuple(
        RemoteFile(f"http://127.0.0.1:9/{name}", len(content), hashlib.sha256(content).hexdigest())
        for name, content in TRIPLES.items()
    )
    monkeypatch.setattr(datasets, "catalogue", lambda: {"toy": files})


def run(*arguments: str | Path) -> tuple[int, str, str]:
    app = typer.Typer()
    data.register(app)
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_every_file_of_the_catalogue_is_pinned() -> None:
    known = datasets.catalogue()
    assert list(known) == ["wn18rr", "fb15k-237", "codex-s", "codex-m", "umls", "nations"]
    for files in known.values():
        assert [file.name for file in files] == ["train.txt", "valid.txt", "test.txt"]
        for file in files:
            assert file.url.startswith("https://")
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)


@pytest.mark.skipif(not BENCHMARKS, reason="MULDE_DATA does not name the benchmark graphs")
@pytest.mark.parametrize("name", sorted(datasets.catalogue()))
def test_the_pins_are_those_of_the_benchmarks(name: str) -> None:
    for file in datasets.catalogue()[name]:
        content = Path(str(BENCHMARKS), name, file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size_bytes, file.sha256)


@pytest.mark.skipif(not BENCHMARKS, reason="MULDE_DATA does not name the benchmark graphs")
@pytest.mark.parametrize("name", sorted(datasets.catalogue()))
def test_every_graph_is_fetched_and_read(name: str, tmp_path: Path) -> None:
    with serving(Path(str(BENCHMARKS), name)) as address:
        datasets.fetch(name, tmp_path / name, home=address)
    assert len(read_folder(tmp_path / name).train) > 1000


@pytest.mark.usefixtures("toy")
def test_a_graph_comes_from_a_mirror(home: str, tmp_path: Path) -> None:
    paths = datasets.fetch("toy", tmp_path / "new", home=home + "/")
    assert {path.name: path.read_bytes() for path in paths} == TRIPLES


@pytest.mark.usefixtures("toy")
def test_a_mirror_with_other_bytes_is_refused(home: str, tmp_path: Path) -> None:
    (tmp_path / "home" / "valid.txt").write_bytes(b"x\tr\ty\n")
    with pytest.raises(DatasetError, match=r"valid\.txt: .* sent another file"):
        datasets.fetch("toy", tmp_path / "new", home=home)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["train.txt"]


@pytest.mark.usefixtures("toy")
def test_without_a_mirror_the_public_home_is_asked(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"cannot be downloaded from http://127\.0\.0\.1:9/train\.txt"
    ):
        datasets.fetch("toy", tmp_path / "new", longest_wait_s=0.01)


def test_an_unknown_graph_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one of wn18rr, .*, nations, found 'wn18'"):
        datasets.fetch("wn18", tmp_path)


def test_a_mirror_must_be_on_the_web(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="begins with http"):
        datasets.fetch("wn18rr", tmp_path, home="file:///etc")


@pytest.mark.usefixtures("toy")
def test_the_command_fetches_and_says_where(home: str, tmp_path: Path) -> None:
    code, stdout, stderr = run("fetch", "toy", "--out", tmp_path / "new", "--home", home)
    assert (code, stdout) == (0, "")
    assert "toy is in" in stderr
    assert (tmp_path / "new" / "test.txt").read_bytes() == TRIPLES["test.txt"]


def test_check_counts_what_is_in_a_graph(home: str, tmp_path: Path) -> None:
    code, stdout, _ = run("check", tmp_path / "home", "--json")
    figures = json.loads(stdout)
    assert code == 0
    assert figures["entities"] == 4
    assert figures["relations"] == {"r": {"train": 2, "valid": 1, "test": 1}}
    assert figures["splits"]["train"] == {
        "triples": 2, "duplicates": 1, "leaked": 0, "unseen": 0, "joined": 0,
    }  # fmt: skip
    assert figures["splits"]["valid"]["leaked"] == 1
    assert figures["splits"]["test"]["unseen"] == 1


def test_check_shows_a_table_and_hostile_names_as_text(home: str, tmp_path: Path) -> None:
    (tmp_path / "home" / "train.txt").write_bytes(b"a\tr\tb\nc\t[red]\x1b[2J\tb\n")
    code, stdout, _ = run("check", tmp_path / "home")
    assert code == 0
    assert "4 entities, 2 relations" in stdout
    assert "[red]\\x1b[2J" in stdout
    assert "\x1b" not in stdout


def test_check_refuses_what_training_would(home: str, tmp_path: Path) -> None:
    (tmp_path / "home" / "valid.txt").write_bytes(b"a\tr\n")
    with pytest.raises(DatasetError, match=r"valid\.txt:1: expected 3"):
        run("check", tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "said"), [("wordnet-core", "data/wordnet-core"), ("wordnet", "scripts.wordnet --full")]
)
def test_a_graph_that_is_made_here_says_where_it_is(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        datasets.fetch(name, tmp_path)
