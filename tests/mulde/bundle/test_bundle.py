"""Bundles: written whole or not at all, and believed only after verification."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.draft import draft_bundle, write_bundle
from mulde.bundle.facts.known_facts import KnownFacts
from mulde.errors import BundleError
from tests.support.toy import toy_bundle


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bundles") / "toy").path


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "toy"))


def reseal(folder: Path) -> None:
    """Make digest of the manifest agree with the manifest again."""
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    (folder / "manifest.sha256").write_text(digest)


def contents(folder: Path) -> dict[str, bytes | Path]:
    names = {path.name for path in folder.iterdir()} - {"manifest.json", "manifest.sha256"}
    return {name: folder / name for name in names}


def test_a_bundle_opens_with_all_its_parts(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.manifest.name == "toy"
    assert opened.vocabulary.entities.ids[3] == "Q0000003"
    assert opened.known is not None
    assert opened.types is not None
    assert opened.calibration is not None
    assert opened.file("encoder.onnx").is_file()


def test_equal_arguments_give_equal_bundles(bundle: Path, tmp_path: Path) -> None:
    again = toy_bundle(tmp_path / "again").path
    assert (again / "manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()


def test_a_bundle_may_do_without_known_facts(tmp_path: Path) -> None:
    opened = open_bundle(toy_bundle(tmp_path / "b", known=False))
    assert opened.known is None
    with pytest.raises(BundleError, match=r"known\.bin: the bundle has no such file"):
        opened.file("known.bin")


@pytest.mark.parametrize("verify", [True, False])
def test_each_missing_file_is_named(pristine: Path, tmp_path: Path, verify: bool) -> None:
    for name in sorted(path.name for path in pristine.iterdir()):
        folder = Path(shutil.copytree(pristine, tmp_path / name))
        (folder / name).unlink()
        with pytest.raises(BundleError) as caught:
            open_bundle(folder, verify=verify)
        assert caught.value.path == folder / name


def test_each_changed_byte_is_found_and_its_file_named(pristine: Path, tmp_path: Path) -> None:
    for name in sorted(path.name for path in pristine.iterdir()):
        folder = Path(shutil.copytree(pristine, tmp_path / name))
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        blamed = "manifest.json" if name == "manifest.sha256" else name
        with pytest.raises(BundleError, match="expected SHA-256") as caught:
            open_bundle(folder)
        assert caught.value.path == folder / blamed


def test_each_cut_file_is_named(pristine: Path, tmp_path: Path) -> None:
    for name in sorted({path.name for path in pristine.iterdir()} - {"manifest.sha256"}):
        folder = Path(shutil.copytree(pristine, tmp_path / name))
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(BundleError) as caught:
            open_bundle(folder)
        assert caught.value.path == folder / name


def replace_by_link(folder: Path) -> None:
    outside = folder.parent / "outside"
    shutil.move(folder / "card.md", outside)
    (folder / "card.md").symlink_to(outside)


def replace_by_folder(folder: Path) -> None:
    (folder / "card.md").unlink()
    (folder / "card.md").mkdir()


def replace_by_pipe(folder: Path) -> None:
    (folder / "card.md").unlink()
    os.mkfifo(folder / "card.md")


@pytest.mark.parametrize("harm", [replace_by_link, replace_by_folder, replace_by_pipe])
def test_only_regular_files_are_believed(bundle: Path, harm: Callable[[Path], None]) -> None:
    harm(bundle)
    with pytest.raises(BundleError, match=r"card\.md: expected a regular file"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["extra.bin", ".hidden", "odd\nname", "known.bin~"])
def test_a_file_that_the_manifest_does_not_list_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).write_text("x")
    with pytest.raises(BundleError, match="does not list") as caught:
        open_bundle(bundle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "", "unknown.bin"])
def test_a_manifest_cannot_name_files_outside_the_format(bundle: Path, name: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["card.md"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    reseal(bundle)
    with pytest.raises(BundleError):
        open_bundle(bundle)


def test_a_huge_manifest_is_not_read(bundle: Path) -> None:
    with (bundle / "manifest.json").open("ab") as file:
        file.truncate(1 << 31)
    with pytest.raises(BundleError, match=r"manifest\.json: expected a file of at most"):
        open_bundle(bundle)


def test_parts_of_another_model_are_refused(bundle: Path, tmp_path: Path) -> None:
    KnownFacts.build(np.zeros((1, 3), int), 49, 3).write(tmp_path / "known.bin")
    files = {**contents(bundle), "known.bin": tmp_path / "known.bin"}
    write_bundle(tmp_path / "mixed", open_bundle(bundle).manifest, files)
    with pytest.raises(BundleError, match=r"known\.bin: expected 50 entities .* found 49"):
        open_bundle(tmp_path / "mixed")


def test_what_is_not_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected the folder of a bundle"):
        open_bundle(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"manifest\.sha256: cannot be read"):
        open_bundle(tmp_path)


def test_a_bundle_may_be_reached_through_a_link(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(bundle)
    assert open_bundle(tmp_path / "latest").manifest.name == "toy"


def test_an_existing_target_is_kept_unless_it_may_be_overwritten(bundle: Path) -> None:
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="exists"):
        toy_bundle(bundle, seed=1)
    assert (bundle / "manifest.json").read_bytes() == before
    toy_bundle(bundle, seed=1, overwrite=True)
    assert (bundle / "manifest.json").read_bytes() != before
    assert open_bundle(bundle).manifest.name == "toy"


def test_nothing_is_left_when_writing_fails(bundle: Path, tmp_path: Path) -> None:
    files, manifest = contents(bundle), open_bundle(bundle).manifest
    del files["encoder.onnx"]
    with pytest.raises(BundleError, match=r"encoder\.onnx: a bundle must have this file"):
        write_bundle(tmp_path / "out" / "b", manifest, files)
    with pytest.raises(BundleError, match="not part of the format"):
        write_bundle(tmp_path / "out" / "b", manifest, {**contents(bundle), "x.bin": b""})
    assert list((tmp_path / "out").iterdir()) == []


def test_a_draft_that_is_not_published_disappears(bundle: Path, tmp_path: Path) -> None:
    with draft_bundle(tmp_path / "out" / "b") as draft:
        for name, source in contents(bundle).items():
            shutil.copyfile(source, draft.path / name)
        draft.seal(open_bundle(bundle).manifest)
        assert open_bundle(draft.path).manifest.name == "toy"
    assert list((tmp_path / "out").iterdir()) == []


def test_overwriting_leaves_one_bundle_and_no_rest(bundle: Path) -> None:
    toy_bundle(bundle, seed=2, overwrite=True)
    assert [path.name for path in bundle.parent.iterdir()] == ["toy"]


def test_arrays_are_mapped_and_cannot_be_written(bundle: Path) -> None:
    known = open_bundle(bundle).known
    assert known is not None
    with pytest.raises(ValueError, match="read-only"):
        known.tails[0] = 1
