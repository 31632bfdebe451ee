"""The records of bundles with text columns are what the bundles say of themselves."""

from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.accuracy import TEXT_RECORDS, text_record_of
from benchmarks.record_files import read_records
from mulde.bundle import files
from mulde.bundle.manifest import Manifest
from mulde.errors import ConfigError

MODELS = Path(__file__).parents[2] / "models"


def manifest_of(name: str) -> Manifest:
    path = MODELS / name / files.MANIFEST
    return Manifest.from_json(path, files.read_small(path))


def test_the_record_of_the_committed_bundle_with_text_is_its_own() -> None:
    made = asdict(text_record_of(manifest_of("wordnet-32")))
    assert made in read_records(TEXT_RECORDS)


def test_a_bundle_without_text_columns_has_no_record_of_them() -> None:
    with pytest.raises(ConfigError, match="expected a bundle with text columns"):
        text_record_of(manifest_of("wn18rr-32"))
