"""Names of models are never paths: nothing outside the repository is opened, read or loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mulde.bundle.manifest import NAME
from mulde.client import Client
from mulde.errors import BundleError, InvalidArgument, MuldeError, UnknownModel
from serving.registry.repository import Repository
from tests.serving.test_server_models import ADMIN, fill, tokens
from tests.support.server import ServerProcess, server
from tests.support.toy import toy_bundle


@dataclass
class Site:
    """A server over a repository, beside a bundle that must not be reachable."""

    root: Path
    outside: Path
    process: ServerProcess
    client: Client

    def loaded(self) -> list[tuple[str, str]]:
        return [(model.name, model.version) for model in self.client.models()]

    def opened(self) -> set[str]:
        """Files that the server has open or mapped."""
        folder = Path("/proc") / str(self.process.process.pid)
        mapped = [line.split(maxsplit=5)[5:] for line in (folder / "maps").read_text().splitlines()]
        return {path for paths in mapped for path in paths} | {
            str(entry.readlink()) for entry in (folder / "fd").iterdir() if entry.is_symlink()
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    root, outside = folder / "models", folder / "outside"
    fill(root)
    outside.mkdir()
    toy_bundle(outside / "1", name="outside", version="1")
    (root / "linked").symlink_to(outside)
    (root / "animals" / "3").symlink_to(outside / "1")
    (root / ".hidden").mkdir()
    toy_bundle(root / ".hidden" / "1", name="hidden", version="1")
    flags = ("--api-key-file", str(tokens(folder)))
    with (
        server(root, *flags, log=folder / "log") as process,
        Client(process.address, token=ADMIN) as client,
    ):
        yield Site(root, outside, process, client)


PATHS = [
    "..",
    ".",
    "../outside",
    "animals/../../outside",
    "animals/1",
    "linked",
    ".hidden",
    "animals\0",
    "animals\n",
    " animals",
    "Animals",
    "..\\outside",
    "%2e%2e/outside",
    "..%2foutside",
    "~",
    "$HOME",
    "file:///etc/passwd",
    "/etc/passwd",
    "C:\\models",
    "\u2025/outside",
    "\uff0e\uff0e/outside",
    "an\u0131mals",
    "\u202eanimals",
    "a" * 65,
    "a" * 65_536,
]
CALLS: dict[str, Callable[[Client, str], object]] = {
    "load": lambda client, name: client.load_model(name),
    "load a version": lambda client, name: client.load_model("animals", name),
    "reload": lambda client, name: client.reload_model(name),
    "unload": lambda client, name: client.unload_model(name),
    "unload a version": lambda client, name: client.unload_model("animals", name),
    "get": lambda client, name: client.model(model=name),
    "get a version": lambda client, name: client.model(model="animals", version=name),
    "ask": lambda client, name: client.predict_tails("Q0000001", "P0", model=name),
    "search": lambda client, name: client.search("thing", model=name),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("name", PATHS, ids=lambda name: ascii(name[:30]))
def test_a_path_is_no_name(site: Site, call: Callable[[Client, str], object], name: str) -> None:
    before = site.loaded()
    with pytest.raises((InvalidArgument, UnknownModel)) as caught:
        call(site.client, name)
    assert str(caught.value).isprintable()
    assert str(site.outside) not in str(caught.value)
    assert site.loaded() == before


def test_an_absolute_path_is_no_name(site: Site) -> None:
    for call in CALLS.values():
        with pytest.raises(MuldeError):
            call(site.client, str(site.outside))


def test_links_are_not_followed_out_of_the_repository(site: Site) -> None:
    assert site.loaded() == [("animals", "2"), ("plants", "1")]
    opened = site.opened()
    assert any(path.startswith(str(site.root / "animals" / "2")) for path in opened)
    assert not any(path.startswith(str(site.outside)) for path in opened)


def test_errors_of_strangers_tell_no_path_of_the_server(site: Site) -> None:
    for name in ("nothing", "linked", "../outside"):
        for call in CALLS.values():
            with pytest.raises(MuldeError) as caught:
                call(site.client, name)
            assert str(site.root) not in str(caught.value)


@pytest.fixture(params=["fifo", "link", "folder", "long"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A repository with a sound version beside one whose manifest is no plain, small file."""
    toy_bundle(tmp_path / "models" / "animals" / "1", name="animals")
    manifest = tmp_path / "models" / "single" / "manifest.json"
    manifest.parent.mkdir()
    if request.param == "fifo":
        os.mkfifo(manifest)
    elif request.param == "link":
        manifest.symlink_to(tmp_path / "models" / "animals" / "1" / "manifest.json")
    elif request.param == "folder":
        manifest.mkdir()
    else:
        with manifest.open("wb") as file:
            file.truncate(1 << 40)  # a hole: it takes no room here, but would in memory
    return tmp_path / "models"


@pytest.mark.timeout(60)
def test_a_manifest_that_is_no_plain_small_file_is_refused_at_once(odd: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Repository(odd).scan()


@pytest.mark.parametrize("call", ["load", "load a version", "reload", "unload"])
def test_what_no_folder_may_be_called_is_refused_before_any_look(site: Site, call: str) -> None:
    for name in PATHS:
        if not NAME.fullmatch(name):
            with pytest.raises(InvalidArgument, match=r"expected a name like"):
                CALLS[call](site.client, name)
