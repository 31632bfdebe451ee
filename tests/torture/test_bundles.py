"""Bundles that were damaged, or made to do harm: refused with file and reason, or sound.

A writer of bundles can also write digests that agree; then each reader must refuse by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mulde.bundle.bundle import open_bundle
from mulde.bundle.files import DIGEST, ENCODER, ENTITIES, KNOWN, MANIFEST, VOCABULARY
from mulde.errors import BundleError
from serving.engine.engine import Engine
from tests.support.server import ROOT, environment
from tests.support.toy import toy_bundle
from tests.torture.tools import Opener, Tally


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model's, with other numbers of everything."""
    return toy_bundle(tmp_path_factory.mktemp("bundles") / "b", seed=1, entities=60).path


# Bytes that changed on their way


@pytest.mark.parametrize(
    "step", [61, pytest.param(1, marks=[pytest.mark.torture, pytest.mark.timeout(1800)])]
)
def test_no_changed_byte_of_any_file_is_believed(copy: Path, step: int, tally: Tally) -> None:
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        blamed = {MANIFEST, DIGEST} if path.name in (MANIFEST, DIGEST) else {path.name}
        for place in range(0, len(whole.rstrip()), step):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(BundleError) as caught:
                open_bundle(copy)
            assert caught.value.path.name in blamed
            tally("bundle: a byte changed", copies=1, refused=1)
        path.write_bytes(whole)
    open_bundle(copy)


@pytest.mark.parametrize(
    "step", [211, pytest.param(7, marks=[pytest.mark.torture, pytest.mark.timeout(1800)])]
)
def test_no_file_cut_at_any_place_is_believed(copy: Path, step: int, tally: Tally) -> None:
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        for place in range(0, len(whole.rstrip()), step):
            path.write_bytes(whole[:place])
            with pytest.raises(BundleError):
                open_bundle(copy)
            tally("bundle: a file cut", copies=1, refused=1)
        path.write_bytes(whole)
    open_bundle(copy)


def test_no_file_of_another_bundle_is_believed(copy: Path, foreign: Path) -> None:
    for path in sorted(copy.iterdir()):
        whole, other = path.read_bytes(), (foreign / path.name).read_bytes()
        if whole == other:
            continue
        path.write_bytes(other)
        with pytest.raises(BundleError):
            open_bundle(copy)
        path.write_bytes(whole)


def test_no_engine_is_made_of_two_bundles(tmp_path: Path) -> None:
    """Replaced between the check of its sums and the opening of its table, by a sound one."""
    opened = open_bundle(toy_bundle(tmp_path / "toy"))
    toy_bundle(tmp_path / "toy", seed=1, overwrite=True)
    with pytest.raises(BundleError, match="it was replaced while it was read"):
        Engine(opened)
    Engine(open_bundle(tmp_path / "toy"))


# Bytes that were changed on purpose, with digests to match


@pytest.mark.parametrize(
    "count", [540, pytest.param(20_000, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])]
)
def test_a_stamped_bundle_is_refused_or_sound_whatever_was_changed(
    pristine: Path,
    foreign: Path,
    tmp_path: Path,
    count: int,
    generator: np.random.Generator,
    tally: Tally,
) -> None:
    seed = str(generator.integers(2**31))
    arguments = [str(pristine), str(foreign), str(tmp_path), seed, str(count)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.torture.opener", "many", *arguments],
        cwd=ROOT, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line for line in told if line["verdict"] not in ("refused", "sound")] == []
    assert len(told) == count
    verdicts = Counter((line["file"], line["verdict"]) for line in told)
    for name in (ENCODER, ENTITIES, KNOWN, MANIFEST, VOCABULARY):
        assert verdicts[name, "refused"] > verdicts[name, "sound"], name
    tally("bundle: changed and stamped", copies=count, faults=0)
    tally("bundle: changed and stamped", **Counter(line["verdict"] for line in told))


# Hostile manifests and folders


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "card.md\n", "x" * 999])
def test_a_manifest_reaches_no_file_outside(
    copy: Path, name: str, opener: Opener, tally: Tally
) -> None:
    (copy.parent / "secret").write_text("x")
    table = json.loads((copy / MANIFEST).read_text())
    table["files"][name] = table["files"]["card.md"]
    stamp_manifest(copy, json.dumps(table))
    assert opener(copy).startswith(f"{copy}")
    tally("bundle: made to do harm", bundles=1, refused=1)


@pytest.mark.parametrize("name", [ENCODER, ENTITIES, KNOWN, VOCABULARY, "card.md"])
@pytest.mark.parametrize("hard", [False, True])
def test_a_file_that_leads_outside_is_refused_if_it_is_a_link(
    copy: Path, name: str, hard: bool, opener: Opener
) -> None:
    """A hard link is a file like any other: it gives away nothing that its maker had not."""
    outside = copy.parent / "outside"
    (copy / name).rename(outside)
    (copy / name).hardlink_to(outside) if hard else (copy / name).symlink_to(outside)
    if hard:
        open_bundle(copy)
        return
    assert opener(copy) == f"{copy / name}: expected a regular file, found a link or a folder"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"format_version": 1' + "0" * 100_000 + "}",
        '{"format_version": 1, "format_version": 1}',
        '{"format_version": NaN}',
        "\ud800".encode("utf-8", "surrogatepass"),
        b"\xff\xfe",
        "null",
        "",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_a_manifest_that_is_none_is_refused(copy: Path, text: str | bytes, opener: Opener) -> None:
    stamp_manifest(copy, text)
    assert opener(copy).startswith(f"{copy / MANIFEST}: expected")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entities", 2**80), ("entities", 10**18), ("relations", 2**62), ("dimension", 2**61),
        ("dimension", -1), ("entities", 0), ("entities", 50.0), ("name", "../up"),
        ("version", "a\nb"), ("precision", "fp4"), ("created", "yesterday"), ("format_version", 4),
    ],
)  # fmt: skip
def test_a_manifest_whose_numbers_lie_is_refused(
    copy: Path, field: str, value: object, opener: Opener
) -> None:
    table = json.loads((copy / MANIFEST).read_text())
    table[field] = value
    if field == "dimension":
        table["width"] = -(-(int(value) + 6) // 8) * 8  # type: ignore[call-overload]
    stamp_manifest(copy, json.dumps(table))
    assert opener(copy).startswith(f"{copy}")


def test_a_file_that_claims_another_size_is_refused(copy: Path, opener: Opener) -> None:
    table = json.loads((copy / MANIFEST).read_text())
    table["files"][KNOWN]["bytes"] = 2**50
    stamp_manifest(copy, json.dumps(table))
    assert f"{copy / KNOWN}: expected {2**50} bytes" in opener(copy)


def test_a_hole_of_any_size_takes_no_memory(copy: Path, opener: Opener) -> None:
    os.truncate(copy / VOCABULARY, 1 << 32)
    assert f"{copy / VOCABULARY}: expected" in opener(copy)


def stamp_manifest(folder: Path, text: str | bytes) -> None:
    """Write a manifest and the digest that agrees with it."""
    content = text.encode() if isinstance(text, str) else text
    (folder / MANIFEST).write_bytes(content)
    (folder / DIGEST).write_text(hashlib.sha256(content).hexdigest())
