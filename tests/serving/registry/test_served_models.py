"""Which versions are loaded, as plain values; and what a manager makes of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mulde.errors import BundleError, InvalidArgument, UnknownModel
from serving.registry.manager import LocalModels, ModelManager
from serving.registry.repository import Place, Repository
from serving.registry.served_models import ServedModels


def place(version: str, name: str = "a") -> Place:
    return Place(name, version, Path("/", name, version))


def served_models(*versions: str) -> ServedModels:
    made = ServedModels()
    for version in versions:
        made = made.with_current(place(version), pinned=False, keep=True)
    return made


def test_versions_are_ordered_as_people_order_them() -> None:
    versions = ["1.10", "1.9", "2", "10", "1.9-beta", "a"]
    ordered = sorted(versions, key=lambda version: place(version).order)
    assert ordered == ["a", "1.9", "1.9-beta", "1.10", "2", "10"]


def test_the_last_one_made_current_is_current() -> None:
    made = served_models("1", "2")
    assert made.key("a", "", "f") == ("a", "2")
    assert made.key("", "1", "f") == ("a", "1")
    assert made.keys() == ["a/1", "a/2"]
    alone = made.with_current(place("3"), pinned=True, keep=False)
    assert alone.keys() == ["a/3"]
    assert alone.entries["a"].pinned


def test_without_the_current_one_the_newest_left_is_current() -> None:
    made = served_models("9", "10", "2").without("a", ["2"])
    assert made.key("a", "", "f") == ("a", "10")
    assert made.without("a", ["9", "10"]).entries == {}


def test_names_are_needed_where_there_are_several() -> None:
    made = served_models("1").with_current(place("1", "b"), pinned=False, keep=True)
    with pytest.raises(InvalidArgument, match="one of a, b"):
        made.key("", "", "model.name")
    for name, version in (("c", ""), ("a", "2")):
        with pytest.raises(UnknownModel, match="loaded are 'a/1', 'b/1'"):
            made.key(name, version, "f")
    with pytest.raises(UnknownModel, match="none"):
        ServedModels().key("", "", "f")


def test_a_failure_is_kept_until_that_version_is_loaded() -> None:
    made = served_models("1").with_failure(place("2"), "damaged")
    assert made.failures == {("a", "2"): "damaged"}
    assert made.with_current(place("2"), pinned=False, keep=True).failures == {}


class Loaded:
    """Applies states, and fails for some versions."""

    def __init__(self, *bad: str) -> None:
        self.bad, self.applied = bad, list[list[str]]()

    def apply(self, served_models: ServedModels) -> None:
        for key in served_models.keys():  # noqa: SIM118 - a method of its own
            if key in self.bad:
                raise BundleError(Path(key), "damaged")
        self.applied.append(served_models.keys())


def fill(root: Path, *keys: str) -> Repository:
    for key in keys:
        (root / key).mkdir(parents=True)
        (root / key / "manifest.json").write_text("{}")
        (root / key / "manifest.sha256").write_text(f"digest of {key}\n")
    return Repository(root)


def test_a_start_takes_the_newest_sound_version_of_each_name(tmp_path: Path) -> None:
    repository = fill(tmp_path, "a/1", "a/2", "a/10", "b/1")
    manager = ModelManager(repository, LocalModels(Loaded("a/10").apply))
    manager.start()
    assert manager.served_models.keys() == ["a/2", "b/1"]
    assert list(manager.served_models.failures) == [("a", "10")]


def test_a_start_with_nothing_sound_raises_the_first_reason(tmp_path: Path) -> None:
    manager = ModelManager(fill(tmp_path, "a/1", "a/2"), LocalModels(Loaded("a/1", "a/2").apply))
    with pytest.raises(BundleError, match="a/2"):
        manager.start()


def test_a_loaded_version_stays_the_one_that_was_chosen(tmp_path: Path) -> None:
    """A process that loads it later, such as a new worker, has the same or none."""
    manager = ModelManager(fill(tmp_path, "a/1"), LocalModels(Loaded().apply))
    manager.start()
    (tmp_path / "a/1/manifest.sha256").write_text("digest of another\n")
    manager.load("a", "1", True)
    assert manager.served_models.entries["a"].places["1"].digest == "digest of a/1"
    manager.unload("a", "1")
    manager.load("a", "1", True)
    assert manager.served_models.entries["a"].places["1"].digest == "digest of another"


def test_a_failed_change_leaves_what_is_served(tmp_path: Path) -> None:
    manager = ModelManager(fill(tmp_path, "a/1"), LocalModels(Loaded("a/2").apply))
    manager.start()
    fill(tmp_path, "a/2")
    for change in (lambda: manager.load("a", "2", False), lambda: manager.reload("a")):
        with pytest.raises(BundleError):
            change()
    assert manager.served_models.key("a", "", "f") == ("a", "1")


def test_a_pin_holds_against_a_reload_until_the_next_load(tmp_path: Path) -> None:
    manager = ModelManager(fill(tmp_path, "a/1", "a/2"), LocalModels(Loaded().apply), {"a": "1"})
    manager.start()
    assert manager.reload("a") == ("a", "1", False)
    assert manager.load("a", "", False) == ("a", "2")
    fill(tmp_path, "a/3")
    assert manager.reload("") == ("a", "3", True)
    assert manager.served_models.keys() == ["a/1", "a/3"]


def test_folders_that_hold_no_bundle_are_left_alone(tmp_path: Path) -> None:
    repository = fill(tmp_path, "a/1", ".hidden/1", "recipes/paper/set")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert [(one.name, one.version) for one in repository.scan()] == [("a", "1")]


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_a_folder_without_bundles_is_refused(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "models"
    if kind == "empty":
        root.mkdir()
    if kind == "file":
        root.write_text("")
    with pytest.raises(BundleError, match="expected"):
        Repository(root).scan()
