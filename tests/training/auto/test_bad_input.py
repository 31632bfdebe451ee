"""What cannot become a model is refused in a sentence, before any training and without a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mulde.cli import app
from mulde.errors import MuldeError


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "found an empty file"),
        ("one.csv", b"anna\nben\n", "expected columns of subject, predicate and object"),
        ("binary.tsv", bytes(range(256)) * 4, "found binary content"),
        ("latin.tsv", "a\tr\tb\nc\tr\t\xdf\n".encode("latin-1"), "type --encoding latin-1"),
        ("ragged.tsv", b"a\tr\tb\na\tr\n", "expected 3 fields"),
        ("equal.tsv", b"a\tr\tb\n" * 1000, "expected 2 of 1 facts to hold out"),
        ("two.tsv", b"a\tr\tb\nb\tr\tc\n", "expected 2 of 2 facts to hold out"),
        ("three.tsv", b"a\tr\tb\nb\ts\tc\nc\tt\ta\n", "expected 2 of 3 facts to hold out"),
        ("bad.ttl", b"@prefix e: <http://e/> .\ne:a e:r e:b\ne:c", r"column \d+:"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    run, out = tmp_path / "run", tmp_path / "bundle"
    arguments = ["fit", str(tmp_path / name), "-o", str(out), "--run", str(run)]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, MuldeError), result.output
    with pytest.raises(MuldeError, match=said):
        raise result.exception
    assert not out.exists()
    assert not (run / "race").exists()
