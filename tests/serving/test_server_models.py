"""Several models and versions: atomic swaps under load, rollback, pins, damage, unloading."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from mulde.client import Client, Connection
from mulde.errors import (
    BundleError,
    Forbidden,
    InvalidArgument,
    MuldeError,
    Unauthenticated,
    UnknownModel,
)
from mulde.v1 import model_pb2
from serving.engine.engine import Engine
from tests.support.server import ServerProcess, eventually, run_mulde, server
from tests.support.toy import toy_bundle

READ, ADMIN = "read-token-0123456789", "admin-token-0123456789"


@dataclass
class Place:
    """A server with tokens over a repository that a test may change."""

    root: Path
    process: ServerProcess
    stack: ExitStack = field(default_factory=ExitStack)

    def add(self, name: str, version: str, *, entities: int = 200, seed: int = 0) -> Path:
        path = self.root / name / version
        path.parent.mkdir(parents=True, exist_ok=True)
        toy_bundle(path, entities=entities, seed=seed, name=name, version=version)
        return path

    def client(self, token: str = ADMIN) -> Client:
        return self.stack.enter_context(Client(self.process.address, token=token))


def tokens(folder: Path) -> Path:
    path = folder / "tokens"
    path.write_text(f"# who\nread {READ}\n\nadmin {ADMIN}\n")
    return path


def fill(root: Path) -> None:
    for name, version, seed in (("animals", "1", 1), ("animals", "2", 2), ("plants", "1", 3)):
        (root / name).mkdir(parents=True, exist_ok=True)
        toy_bundle(root / name / version, entities=200, seed=seed, name=name, version=version)


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    root = tmp_path / "models"
    fill(root)
    flags = ("--api-key-file", str(tokens(tmp_path)), "--workers", str(request.param))
    with server(root, *flags, log=tmp_path / "log") as process, ExitStack() as stack:
        yield Place(root, process, stack)


def first(client: Client, **which: str) -> tuple[str, tuple[float, ...]]:
    answers = client.predict_tails("Q0000001", "P0", k=3, **which)  # type: ignore[arg-type]
    return answers.model, tuple(answers.scores.tolist())


def expected(path: Path) -> tuple[float, ...]:
    with Engine.open(path) as engine:
        return tuple(engine.predict(1, 0, 3, exclude_known=True).scores.tolist())


def test_the_newest_version_of_each_name_is_loaded(place: Place) -> None:
    models = place.client().models()
    assert [(m.name, m.version, m.current) for m in models] == [
        ("animals", "2", True),
        ("plants", "1", True),
    ]


def test_requests_choose_name_and_version(place: Place) -> None:
    client = place.client(READ)
    assert first(client, model="animals") == ("animals/2", expected(place.root / "animals/2"))
    assert first(client, model="plants", version="1")[0] == "plants/1"
    with pytest.raises(InvalidArgument, match="one of animals, plants"):
        first(client)
    with pytest.raises(UnknownModel, match="animals/1"):
        first(client, model="animals", version="1")


def test_an_older_version_comes_back_and_the_newer_stays_at_hand(place: Place) -> None:
    client = place.client()
    assert client.load_model("animals", "1").current
    assert first(client, model="animals") == ("animals/1", expected(place.root / "animals/1"))
    assert first(client, model="animals", version="2")[0] == "animals/2"


def test_a_reload_takes_the_newest_and_frees_the_former(place: Place) -> None:
    client = place.client()
    assert not client.reload_model("animals").changed
    place.add("animals", "10", seed=10)  # after 9, not after 1
    reply = client.reload_model("animals")
    assert (reply.changed, reply.model.version) == (True, "10")
    assert first(client, model="animals") == ("animals/10", expected(place.root / "animals/10"))
    with pytest.raises(UnknownModel):
        first(client, model="animals", version="2")


def test_a_pinned_version_stays_current(place: Place) -> None:
    client = place.client()
    assert client.load_model("animals", "1", pin=True).pinned
    place.add("animals", "3", seed=4)
    assert not client.reload_model("animals").changed
    assert first(client, model="animals")[0] == "animals/1"
    assert client.load_model("animals").version == "3"
    assert not client.model(model="animals").model.pinned


def test_a_damaged_version_leaves_the_old_one_and_is_told(place: Place) -> None:
    client = place.client()
    path = place.add("animals", "3", seed=4)
    content = bytearray((path / "entities.faiss").read_bytes())
    content[-1] ^= 1
    (path / "entities.faiss").write_bytes(content)
    for change in (client.load_model, client.reload_model):
        with pytest.raises(BundleError, match=r"entities\.faiss"):
            change("animals")
    assert first(client, model="animals")[0] == "animals/2"
    failed = [m for m in client.models() if m.state == model_pb2.MODEL_STATE_FAILED]
    assert [(m.name, m.version) for m in failed] == [("animals", "3")]
    assert "entities.faiss" in failed[0].failure
    shutil.rmtree(path)
    place.add("animals", "3", seed=4)
    assert client.reload_model("animals").changed
    assert all(m.state == model_pb2.MODEL_STATE_READY for m in client.models())


def test_an_unloaded_version_is_gone_and_the_newest_left_is_current(place: Place) -> None:
    client = place.client()
    client.load_model("animals", "1")
    assert client.unload_model("animals", "1") == ["animals/1"]
    assert first(client, model="animals")[0] == "animals/2"
    assert client.unload_model("animals") == ["animals/2"]
    with pytest.raises(UnknownModel):
        first(client, model="animals")
    assert first(client)[0] == "plants/1"  # now the only one
    with pytest.raises(UnknownModel):
        client.unload_model("animals")


@pytest.mark.parametrize("name", ["", "..", "../animals", "a/b", ".hidden", "x" * 65, "a\nb"])
def test_a_name_that_is_no_folder_is_refused(place: Place, name: str) -> None:
    client = place.client()
    for call in (lambda: client.load_model(name), lambda: client.unload_model(name)):
        with pytest.raises(InvalidArgument) as caught:
            call()
        assert caught.value.field == "name"
    with pytest.raises(InvalidArgument):
        client.load_model("animals", name or "../1")


def test_administration_needs_the_admin_token(place: Place) -> None:
    reader = place.client(READ)
    assert len(reader.models()) == 2
    for change in (reader.load_model, reader.reload_model, reader.unload_model):
        with pytest.raises(Forbidden):
            change("animals")
    stranger = place.client("wrong-token-0123456789")
    nobody = place.stack.enter_context(Client(Connection(place.process.address)))
    for client in (stranger, nobody):
        for call in (client.models, lambda c=client: c.load_model("animals")):
            with pytest.raises(Unauthenticated):
                call()
    for token in (READ, ADMIN, "wrong-token"):
        assert token not in place.process.raw_log
        assert token not in place.process.get("/metrics")[1]


def test_a_change_under_load_fails_and_mixes_nothing(place: Place) -> None:
    truth = {
        f"animals/{version}": expected(place.root / "animals" / version) for version in ("1", "2")
    }
    stop, wrong, seen = threading.Event(), list[object](), set[str]()

    def ask() -> None:
        with Client(Connection(place.process.address, token=READ, attempts=1)) as client:
            while not stop.is_set():
                try:
                    model, scores = first(client, model="animals")
                except MuldeError as error:
                    wrong.append(error)
                    continue
                seen.add(model)
                if truth[model] != scores:
                    wrong.append((model, scores))

    askers = [threading.Thread(target=ask) for _ in range(6)]
    for asker in askers:
        asker.start()
    client = place.client()
    for _ in range(6):
        client.load_model("animals", "1")
        time.sleep(0.1)
        client.load_model("animals", "2")
        time.sleep(0.1)
        client.unload_model("animals", "1")
    stop.set()
    for asker in askers:
        asker.join()
    assert wrong == []
    assert seen == {"animals/1", "animals/2"}


def test_metrics_tell_what_is_loaded(place: Place) -> None:
    client = place.client()
    workers = max(1, len(place.process.children()))
    info = partial(place.process.metric, "mulde_model_info")
    assert info(name="animals", version="2") == workers
    client.load_model("animals", "1")
    client.unload_model("animals", "2")
    assert info(name="animals", version="1") == workers
    assert info(name="animals", version="2") == 0


def test_memory_is_freed_after_unload(tmp_path: Path) -> None:
    root = tmp_path / "models"
    (root / "big").mkdir(parents=True)
    (root / "small").mkdir()
    toy_bundle(root / "small/1", entities=60)
    toy_bundle(root / "big/1", entities=60_000, dimension=64)
    flags = ("--api-key-file", str(tokens(tmp_path)))
    with (
        server(root, *flags, log=tmp_path / "log") as process,
        Client(process.address, token=ADMIN) as client,
    ):
        memory = partial(process.metric, "mulde_memory_bytes", kind="private")
        table = 60_000 * 66 * 4

        def freed(before: float) -> bool:
            return before - memory() > table

        for _ in range(3):
            client.predict_tails(["Q0000001"] * 64, "P0", model="big")
            loaded = memory()
            client.unload_model("big")
            eventually(partial(freed, loaded), 5.0)
            client.load_model("big")
        assert memory() - loaded < table / 2


def test_pins_hold_at_the_start(tmp_path: Path) -> None:
    root = tmp_path / "models"
    fill(root)
    with (
        server(root, "--pin", "animals=1", log=tmp_path / "log") as process,
        Client(process.address) as client,
    ):
        assert first(client, model="animals")[0] == "animals/1"
        assert client.model(model="animals").model.pinned
    missing = run_mulde("serve", str(root), "--pin", "animals=7", "--grpc-port", "0")
    assert missing.returncode == 1
    assert "animals/7" in missing.stderr


def test_a_start_takes_the_newest_version_that_is_sound(tmp_path: Path) -> None:
    root = tmp_path / "models"
    fill(root)
    (root / "animals/2/encoder.onnx").write_bytes(b"no")
    with server(root, log=tmp_path / "log") as process, Client(process.address) as client:
        assert first(client, model="animals")[0] == "animals/1"
        states = {f"{m.name}/{m.version}": m.state for m in client.models()}
        assert states["animals/2"] == model_pb2.MODEL_STATE_FAILED
        assert any(line["event"] == "not loaded" for line in process.log())


def test_without_tokens_nobody_administers(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy")
    with server(toy.path, log=tmp_path / "log") as process, Client(process.address) as client:
        for change in (client.load_model, client.reload_model, client.unload_model):
            with pytest.raises(Forbidden):
                change("toy")
