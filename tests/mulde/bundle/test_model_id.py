"""Files of two models do not open as one bundle, even under a manifest that was written anew."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import onnx
import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import Draft
from mulde.bundle.entities.descriptions import Descriptions
from mulde.bundle.files import DESCRIPTIONS
from mulde.bundle.manifest import Manifest
from mulde.bundle.model_id import CARRIERS
from mulde.errors import BundleError
from serving.engine.engine import Engine
from tests.serving.resealing import reseal
from tests.support.toy import toy_bundle
from training.export.entity_map import add_map


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of one shape over the same names."""
    folder = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        toy = toy_bundle(folder / f"toy-{seed}", seed=seed, rules=True).path
        Descriptions.build(["a thing"] * 50).write(toy / DESCRIPTIONS)
        reseal(toy)
        add_map(toy, folder / str(seed))
    return folder / "0", folder / "1"


@pytest.fixture
def mixed(toys: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(toys[0], tmp_path / "mixed"))


def stamp_again(folder: Path) -> None:
    """Sizes and digests of the files as they are, as a script would write them."""
    data = json.loads((folder / "manifest.json").read_text())
    for name in data["files"]:
        content = (folder / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        data["files"][name] = {"bytes": len(content), "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(data))
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    (folder / "manifest.sha256").write_text(digest)


@pytest.mark.parametrize("name", sorted(CARRIERS - {"measures.bin"}))
def test_a_file_of_another_model_is_refused_and_named(
    toys: tuple[Path, Path], mixed: Path, name: str
) -> None:
    shutil.copy(toys[1] / name, mixed / name)
    stamp_again(mixed)
    with pytest.raises(BundleError, match="expected a file of the model") as caught:
        open_bundle(mixed)
    assert caught.value.path == mixed / name


def test_a_table_of_another_model_is_refused(toys: tuple[Path, Path], mixed: Path) -> None:
    shutil.copy(toys[1] / "entities.faiss", mixed)
    stamp_again(mixed)
    with pytest.raises(BundleError, match="expected a file of the model"):
        open_bundle(mixed, verify=False)


def test_sealing_refuses_a_file_of_another_model(toys: tuple[Path, Path], mixed: Path) -> None:
    shutil.copy(toys[1] / "encoder.onnx", mixed)
    manifest = Manifest.from_json(mixed, (mixed / "manifest.json").read_bytes())
    with pytest.raises(BundleError, match=r"encoder\.onnx: expected a file of the model"):
        Draft(mixed, mixed, overwrite=True).seal(manifest)


def test_a_table_made_anew_is_bound_to_the_files_that_were_kept(
    toys: tuple[Path, Path], mixed: Path
) -> None:
    shutil.copy(toys[1] / "entities.faiss", mixed)
    manifest = Manifest.from_json(mixed, (mixed / "manifest.json").read_bytes())
    Draft(mixed, mixed, overwrite=True).seal(manifest, rebind=True)
    assert open_bundle(mixed).manifest.files["entities.faiss"].bytes > 0


def test_the_id_is_metadata_of_a_sound_encoder(toys: tuple[Path, Path]) -> None:
    model = onnx.load(toys[0] / "encoder.onnx")
    onnx.checker.check_model(model, full_check=True)
    digest = hashlib.sha256((toys[0] / "entities.faiss").read_bytes()).hexdigest()
    assert {item.key: item.value for item in model.metadata_props} == {"mulde_model_id": digest}
    with Engine.open(toys[0]) as engine:
        assert len(engine.predict([0], [0], 3).rows) == 3


def test_a_sparse_file_larger_than_the_shape_allows_is_refused_before_it_is_read(
    mixed: Path,
) -> None:
    terabyte = 1 << 40
    with (mixed / "entities.faiss").open("r+b") as file:
        file.truncate(terabyte)
    data = json.loads((mixed / "manifest.json").read_text())
    data["files"]["entities.faiss"]["bytes"] = terabyte
    (mixed / "manifest.json").write_text(json.dumps(data))
    digest = hashlib.sha256((mixed / "manifest.json").read_bytes()).hexdigest()
    (mixed / "manifest.sha256").write_text(digest)
    with pytest.raises(BundleError, match=r"entities\.faiss: expected at most \d+ bytes for 50 e"):
        open_bundle(mixed)
