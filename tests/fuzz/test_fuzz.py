"""Whatever bytes come, a reader takes them or refuses them with an error of ours.

Hypothesis changes sound input at random, everywhere. ``make fuzz`` gives the same functions to
atheris for minutes each; where that is installed, it has a short turn here too.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from mulde.errors import BundleError
from tests.fuzz.readers import TryBytes, bundle_file
from tests.fuzz.targets import TARGETS, seeds, target
from tests.support.server import ROOT, environment
from tests.torture.conftest import SEED

EXAMPLES = 150
Edit = tuple[float, int, bytes]


def changed(content: bytes, edits: list[Edit]) -> bytes:
    """Put bytes in the place of so many others, at shares of the length."""
    for place, removed, put in edits:
        start = int(place * len(content))
        content = content[:start] + put + content[start + removed :]
    return content


EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.one_of(st.integers(0, 8), st.integers(0, 4096)),
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from([(2**bits - 1).to_bytes(8, "little") for bits in (31, 32, 63, 64)]),
            st.sampled_from([b"-1", b"1e999", b"NaN", b'"', b"\t", b"\n", b"\0", b"\xff\xfe"]),
        ),
    ),
    max_size=6,
)


@pytest.fixture(params=TARGETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def try_bytes(name: str, tmp_path: Path) -> TryBytes:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return target(name, scratch)


def test_what_the_fuzzer_begins_with_is_sound(
    name: str, try_bytes: TryBytes, tmp_path: Path
) -> None:
    for content in seeds(name, tmp_path):
        assert try_bytes(content)


def test_changed_bytes_are_taken_or_refused(name: str, try_bytes: TryBytes, tmp_path: Path) -> None:
    sound = seeds(name, tmp_path)
    refused = 0

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(begun=st.sampled_from(sound), edits=EDITS)
    def change(begun: bytes, edits: list[Edit]) -> None:
        nonlocal refused
        refused += not try_bytes(changed(begun, edits))

    change()
    assert refused


def test_a_reader_that_lets_another_error_out_would_be_found(tmp_path: Path) -> None:
    """What is fuzzed hides nothing: an error that blames another file is one."""
    elsewhere = tmp_path / "elsewhere"

    def blame(path: Path) -> None:
        raise BundleError(elsewhere, "wrong")

    with pytest.raises(BundleError):
        bundle_file("manifest.json", tmp_path, blame, lambda nothing: None)(b"")


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not here")
def test_atheris_finds_nothing_in_a_moment(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.driver", name, str(tmp_path), "2", str(SEED)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
