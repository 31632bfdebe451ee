"""What is wrong with a file is said with file, line and what to type, within bounds."""

from __future__ import annotations

import gzip
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mulde.errors import DatasetError
from mulde.graph import read_graph, split_graph
from mulde.graph.reading.compressed import ALWAYS_BYTES

MIB = 1 << 20


def refused(path: Path, content: str | bytes) -> str:
    """The error for a file with that content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DatasetError) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.tsv", "", "found an empty file"),
        ("blank.csv", "\n\n", "found an empty file"),
        ("empty.jsonl", "", "found an empty file"),
        ("empty.nt", "", "expected at least one triple, found none"),
        ("comment.nt", "# nothing\n", "expected at least one triple, found none"),
        ("empty.parquet", "", "cannot be read as Parquet"),
        ("header.csv", "subject,predicate,object\n", "expected at least one triple, found none"),
        ("one.txt", "anna\nben\n", "expected columns of subject, predicate and object, found 1"),
        ("spaces.txt", "a r b\nb r c\n", "type --separator ' '"),
        ("two.csv", "a,b\nc,d\n", "or --columns SUBJECT,OBJECT --relation NAME for pairs"),
        ("binary.tsv", bytes(range(256)) * 4, "found binary content"),
        ("text.parquet", "a\tr\tb\n", "cannot be read as Parquet"),
        ("latin.tsv", "a\tr\tb\nc\tr\tß\n".encode("latin-1"),
         ":2: expected UTF-8, found the byte 0xdf in 'c.*ß.*'; type --encoding latin-1"),
        ("ragged.tsv", "a\tr\tb\nb\tr\tc\na\tr\n", ":3: expected 3 fields .* found 2 in 'a\\\\tr'"),
        ("ragged.csv", 's,p,o\na,r,"b\nb"\nb,r,c,d\n', ":4: expected 3 fields .* found 4 in"),
        ("hole.tsv", "a\tr\tb\na\t\tb\n", "row 2: no predicate"),
        ("hole.csv", "s,p,o\na,r,\n", "row 2: no object"),
        ("array.jsonl", '["a", "r", "b"]\n', "expected one JSON object a line"),
        ("broken.jsonl", '{"s": "a", "p": "r", "o": "b"}\n{"s": "a",\n',
         ":2: expected a JSON object, found"),
        ("bad.ttl", "@prefix e: <http://e/> .\ne:a e:r e:b\ne:c", ":[23]: column \\d+:"),
        ("bad.rdf", "<rdf:RDF", "bad.rdf"),
        ("damaged.tsv.gz", gzip.compress(b"a\tr\tb\n" * 99, mtime=0)[:-12], "cannot be read"),
        ("damaged.tsv.zst", b"no zstd at all", "cannot be read"),
        ("damaged.tsv.bz2", b"no bzip2 at all", "cannot be read"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    import re

    message = refused(tmp_path / name, content)
    assert re.search(said, message), message


def test_an_unknown_layout_shows_lines_columns_and_what_to_type(tmp_path: Path) -> None:
    message = refused(tmp_path / "people.csv", "name,age,city,friend\nanna,7,bonn,ben\n")
    assert "name,age,city,friend" in message
    assert "anna,7,bonn,ben" in message
    assert "columns 1 'name', 2 'age', 3 'city', 4 'friend', separated by ','" in message
    assert "type --columns SUBJECT,PREDICATE,OBJECT" in message


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("a,b,c\nx,y,z\n")
    with pytest.raises(DatasetError, match="no column is called 'd'; the first lines are"):
        read_graph(path, columns=("a", "b", "d"), header=True)


def test_an_encoding_that_is_named_is_used(tmp_path: Path) -> None:
    path = tmp_path / "latin.tsv"
    path.write_bytes("a\tr\tß\n".encode("latin-1"))
    assert read_graph(path, encoding="latin-1").facts.entity_ids.to_pylist() == ["a", "ß"]


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.csv: expected a file of triples, found none"):
        read_graph(tmp_path / "nowhere.csv")
    with pytest.raises(DatasetError, match="expected a file of triples, found a folder"):
        read_graph(tmp_path)


def test_a_million_relations_are_read_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "facts.tsv"
    path.write_text("".join(f"a{n % 999}\tr{n}\tb{n % 997}\n" for n in range(1_000_000)))
    began = time.process_time()
    report = read_graph(path).report
    assert report.relations == 1_000_000
    assert [one.name for one in report.findings] == ["swapped_columns"]
    assert time.process_time() - began < 30


def test_equal_triples_are_one_fact_which_cannot_be_split(tmp_path: Path) -> None:
    data = read_graph([("a", "r", "b")] * 1000)
    assert (data.report.triples, data.report.facts) == (1000, 1)
    with pytest.raises(DatasetError, match=r"expected 2 of 1 facts to hold out .* found 0 whose"):
        split_graph(data)


def test_three_triples_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="expected 2 of 3 facts to hold out"):
        split_graph(read_graph([("a", "r", "b"), ("b", "r", "c"), ("c", "s", "d")]))


def test_a_graph_without_held_out_candidates_is_refused() -> None:
    star = [("hub", "r", f"leaf{n}") for n in range(100)]  # each fact is the last one of its leaf
    with pytest.raises(DatasetError, match="found 0 whose entities and relations"):
        split_graph(read_graph(star))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_packed_bomb_is_refused_before_it_fills_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb.tsv.{suffix}"
    if suffix == "gz":
        path.write_bytes(gzip.compress(b"a\tr\tb\n" * (MIB >> 2)) * 200)
    else:
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            for _ in range(64):
                file.write(b"a\tr\tb\n" * (4 * MIB // 6))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DatasetError, match=f"expected at most {ALWAYS_BYTES:,} bytes"):
        read_graph(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024


def test_a_parquet_file_of_too_many_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    one = pa.DictionaryArray.from_arrays(np.zeros(1 << 20, dtype=np.int32), ["a"])
    table = pa.table({"s": one, "p": one, "o": one})
    with parquet.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(24):
            writer.write_table(table)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DatasetError, match=r"Parquet file of .*, found 25,165,824 rows"):
        read_graph(path)


RDF_XML = """<?xml version="1.0"?>
<!DOCTYPE rdf:RDF [{entities}]>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:e="http://e/">
<rdf:Description rdf:about="&base;a"><e:r rdf:resource="&base;b"/></rdf:Description>
{more}</rdf:RDF>
"""


def test_entities_that_shorten_iris_are_read(tmp_path: Path) -> None:
    path = tmp_path / "owl.rdf"
    path.write_text(RDF_XML.format(entities='<!ENTITY base "http://e/">', more=""))
    assert read_graph(path).facts.entity_ids.to_pylist() == ["http://e/a", "http://e/b"]


@pytest.mark.parametrize(
    ("entities", "more"),
    [
        ('<!ENTITY a "aaaaaaaaaa"><!ENTITY base "&a;&a;&a;&a;">', ""),
        ('<!ENTITY base "' + "x" * 257 + '">', ""),
        ('<!ENTITY base SYSTEM "file:///etc/passwd">', ""),
        ('<!ENTITY % a "x"><!ENTITY base "http://e/">', ""),
        ('<!ENTITY base "http://e/">', "<!-- " + "x" * 70_000 + ' --><!ENTITY base "http://e/">'),
    ],
    ids=["nested", "long", "external", "parameter", "late"],
)
def test_entities_that_could_fill_memory_are_refused(
    tmp_path: Path, entities: str, more: str
) -> None:
    message = refused(tmp_path / "bomb.rdf", RDF_XML.format(entities=entities, more=more))
    assert "expected <!ENTITY NAME" in message


@pytest.mark.parametrize("suffix", ["jsonl", "jsonld", "ttl"])
def test_deep_nesting_is_refused(tmp_path: Path, suffix: str) -> None:
    begin = {"jsonl": '{"s":', "jsonld": "", "ttl": "<http://e/a> <http://e/r> "}[suffix]
    refused(tmp_path / f"deep.{suffix}", begin + ("(" if suffix == "ttl" else "[") * 200_000)


def test_a_name_with_a_line_end_is_mended_and_counted() -> None:
    data = read_graph([("a\tb", "r", "c\n d"), ("a", "r", "c")])
    assert data.facts.entity_ids.to_pylist() == ["a", "a b", "c", "c  d"]
    assert [(one.name, one.count) for one in data.report.findings] == [
        ("cleaned_names", 2), ("constant_predicate", 1),
    ]  # fmt: skip


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(DatasetError, match="names of at most 4096 bytes, found 5000: 'xxx"):
        read_graph([("a", "r", "x" * 5000)])


FULL_DISK = """
import sys, resource
from pathlib import Path
from mulde.errors import DatasetError
from mulde.graph.reading.read import read_graph
from mulde.graph.splitting.split import split_graph
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    split_graph(read_graph(Path(sys.argv[1])), Path(sys.argv[2]))
except DatasetError as error:
    print(error)
"""


def write_many(path: Path, facts: int) -> Path:
    rows = np.random.default_rng(0).integers(0, [facts // 5, 5, facts // 5], size=(facts, 3))
    path.write_text("".join(f"e{h}\tr{r}\te{t}\n" for h, r, t in rows.tolist()))
    return path


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_many(tmp_path / "facts.tsv", 5000)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(source), str(tmp_path / "g")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "g: cannot be written: File too large" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_an_interrupt_leaves_nothing_and_a_second_run_succeeds(tmp_path: Path) -> None:
    source = write_many(tmp_path / "facts.tsv", 400_000)
    command = [sys.executable, "-m", "mulde.cli", "data", "split", str(source), "-o"]
    process = subprocess.Popen([*command, str(tmp_path / "g")], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(list(tmp_path.iterdir())) == 1:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)  # while the folder is being written
    _, said = process.communicate(timeout=60)
    if process.returncode:  # else it was done before the signal came
        assert "Traceback" not in said
        assert list(tmp_path.iterdir()) == [source]
        subprocess.run([*command, str(tmp_path / "g")], check=True, capture_output=True, timeout=60)
    assert (tmp_path / "g" / "train.txt").is_file()
