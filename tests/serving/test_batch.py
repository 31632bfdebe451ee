"""Batch prediction: every question answered as the engine would, whatever the files and workers."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from pyarrow import table as arrow_table

from mulde.bundle.bundle import open_bundle
from mulde.errors import (
    BundleError,
    ConfigError,
    DatasetError,
    InvalidArgument,
    JobError,
    MuldeError,
    Unsupported,
)
from serving.batch.job_state import Tally
from serving.batch.predict import Output, complete, predict_file
from serving.batch.predictor import JobOptions
from serving.batch.questions import Questions
from serving.batch.resolver import Resolver
from serving.engine.engine import Engine
from tests.support.toy import Toy, toy_bundle

E, R = 300, 3
Question = tuple[str, str, str]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_bundle(tmp_path_factory.mktemp("batch") / "toy", entities=E, relations=R)


def questions(count: int, seed: int = 0) -> list[Question]:
    """Half of them ask for the head."""
    generator = np.random.default_rng(seed)
    names = [f"Q{row:07d}" for row in generator.integers(E, size=count)]
    relations = [f"P{row}" for row in generator.integers(R, size=count)]
    asked = zip(names, relations, range(count), strict=True)
    return [("?", r, n) if place % 2 else (n, r, "") for n, r, place in asked]


def write(path: Path, rows: list[Question]) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return path


def run(
    source: Path, toy: Toy, out: Path, options: JobOptions | None = None, workers: int = 1
) -> Tally:
    output = Output(out)
    return predict_file(source, toy.path, output, options or JobOptions(), workers=workers)


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text("utf-8").splitlines()]


def table(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, sep="," if path.suffix == ".csv" else "\t", dtype=str)


def test_the_answers_are_those_of_exhaustive_scoring(toy: Toy, tmp_path: Path) -> None:
    asked = questions(60)
    tally = run(write(tmp_path / "q.tsv", asked), toy, tmp_path / "a.tsv", JobOptions(k=5, shard=7))
    header, *rows = lines(tmp_path / "a.tsv")
    assert tally == Tally(questions=60, answers=300, exact=60)
    assert header[:6] == ["query", "head", "relation", "tail", "rank", "answer"]
    curve = open_bundle(toy.path).calibration
    assert curve is not None
    for number, (head, relation, tail) in enumerate(asked):
        given, reciprocal = (tail, R) if head == "?" else (head, 0)
        entity, row = int(given[1:]), int(relation[1:])
        scores = toy.scores(np.array([entity]), np.array([row + reciprocal]))[0]
        columns = (0, 2) if reciprocal == 0 else (2, 0)
        facts = toy.triples[(toy.triples[:, columns[0]] == entity) & (toy.triples[:, 1] == row)]
        scores[facts[:, columns[1]]] = -np.inf
        best = np.argsort(-scores)[:5]
        found = rows[5 * number : 5 * number + 5]
        shown = ["?", relation, given] if reciprocal else [given, relation, "?"]
        assert [line[:5] for line in found] == [
            [str(number + 1), *shown, str(rank)] for rank in range(1, 6)
        ]
        assert [line[5] for line in found] == [f"Q{row:07d}" for row in best]
        np.testing.assert_allclose([float(line[7]) for line in found], scores[best], atol=1e-5)
        rows_asked = np.full(len(best), row + reciprocal)
        probable = curve.probability(scores[best], rows_asked, priors=True)
        np.testing.assert_allclose([float(line[9]) for line in found], probable, atol=1e-6)
        assert [line[10:] for line in found] == [["true", "false"]] * 5


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".parquet"])
def test_the_score_is_the_scorers_and_the_relation_prior_stands_beside_it(
    tmp_path: Path, ending: str
) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=60, relations=2, loops=(1,), traits=2)
    asked = write(tmp_path / "q.tsv", [("Q0000001", "P0", "?"), ("?", "P1", "Q0000001")])
    files = tmp_path / f"new{ending}", tmp_path / f"every{ending}"
    run(asked, toy, files[0], JobOptions(k=20))
    run(asked, toy, files[1], JobOptions(k=20, include_known=True))
    with Engine.open(toy.path) as engine:
        for path, exclude_known in zip(files, (True, False), strict=True):
            rows, found = np.array([1, 1]), table(path)
            expected = engine.predict(rows, np.array([0, 3]), 20, exclude_known=exclude_known)
            priors = np.zeros(40) if expected.priors is None else expected.priors
            assert priors.any() == exclude_known
            np.testing.assert_array_equal(found["score"].astype(float), expected.scores)
            np.testing.assert_array_equal(found["prior"].astype(float), priors)


def test_known_facts_can_be_kept_and_are_marked(toy: Toy, tmp_path: Path) -> None:
    head, relation, tail = toy.triples[0]
    source = write(tmp_path / "q.tsv", [(f"Q{head:07d}", f"P{relation}", "?")])
    run(source, toy, tmp_path / "a.tsv", JobOptions(k=E, include_known=True))
    marked = {line[5] for line in lines(tmp_path / "a.tsv")[1:] if line[11] == "true"}
    same = (toy.triples[:, 0] == head) & (toy.triples[:, 1] == relation)
    assert marked == {f"Q{row:07d}" for row in toy.triples[same, 2]}
    assert f"Q{tail:07d}" in marked


def test_labels_name_entities_and_relations(toy: Toy, tmp_path: Path) -> None:
    run(write(tmp_path / "i.tsv", [("Q0000007", "P1", "?")]), toy, tmp_path / "a.tsv")
    run(write(tmp_path / "l.tsv", [("thing 7", "relation 1", "?")]), toy, tmp_path / "b.tsv")
    ids, labels = lines(tmp_path / "a.tsv"), lines(tmp_path / "b.tsv")
    assert [row[4:] for row in ids] == [row[4:] for row in labels]
    assert labels[1][1:4] == ["thing 7", "relation 1", "?"]


def test_a_header_carriage_returns_and_gzip_change_nothing(toy: Toy, tmp_path: Path) -> None:
    asked = questions(20)
    run(write(tmp_path / "q.tsv", asked), toy, tmp_path / "a.tsv")
    text = "\r\n".join("\t".join(row) for row in [("head", "relation", "tail"), *asked])
    (tmp_path / "q.tsv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    run(tmp_path / "q.tsv.gz", toy, tmp_path / "b.tsv.gz", JobOptions(shard=6))
    assert (
        gzip.decompress((tmp_path / "b.tsv.gz").read_bytes()) == (tmp_path / "a.tsv").read_bytes()
    )


def test_parquet_says_what_tsv_says(toy: Toy, tmp_path: Path) -> None:
    asked = questions(50)
    options = JobOptions(k=4, shard=8)
    run(write(tmp_path / "q.tsv", asked), toy, tmp_path / "a.tsv", options)
    columns = zip(*asked, strict=True)
    cells = [[cell or None for cell in column] for column in columns]
    source = arrow_table(dict(zip(("head", "relation", "tail"), cells, strict=True)))
    source = source.set_column(1, "relation", source["relation"].dictionary_encode())
    parquet.write_table(source, tmp_path / "q.parquet", row_group_size=13)
    run(tmp_path / "q.parquet", toy, tmp_path / "a.parquet", options)
    header, *rows = lines(tmp_path / "a.tsv")
    found = parquet.read_table(tmp_path / "a.parquet")
    assert found.column_names == header
    texts = [
        [str(v).lower() if isinstance(v, bool) else str(v) for v in row.values()]
        for row in found.to_pylist()
    ]
    assert texts == rows


@pytest.mark.parametrize("ending", [".tsv", ".tsv.gz", ".parquet"])
def test_the_number_of_workers_changes_no_byte(toy: Toy, tmp_path: Path, ending: str) -> None:
    source, options = write(tmp_path / "q.tsv", questions(90)), JobOptions(shard=20)
    one, two = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    assert run(source, toy, one, options) == run(source, toy, two, options, workers=2)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (b"Q0000001\tP1\t?\nQ0000001\tP1\n", 2, "expected 3 tab-separated fields, found 2"),
        (b"Q0000001\tP1\t?\nQ0000001\tP1\tQ0000002\n", 2, "but neither is"),
        (b"?\tP1\t\n", 1, "but both are"),
        (b"Q0000001\t?\t\n", 1, "expected a relation"),
        (b"Q0000001\tP1\t?\n\nQ0000001\tP1\t?\n", 2, "found 1 in ''"),
        (b"Q0000001\tP1\t?\nQ\xff\tP1\t?\n", 2, "expected UTF-8"),
        (b"Q0000001\tP1\t?\nQ\0\tP1\t?\n", 2, "expected text"),
        (b"head\trelation\ttail\nQ0000001\tP1\t?\nnobody\tP1\t?\n", 3, "'nobody'"),
        (b"Q0000001\tP1\t?\n?\tP9\tQ0000001\n", 2, "no relation is called 'P9'"),
        (b"?\tP1\ttwin\n", 1, "2 entities"),
        (b"Q0000001\tP1\t?\n" + b"x" * 5000 + b"\tP1\t?\n", 2, "names of at most 4096 bytes"),
        (b"x" * (1 << 21), 1, "expected lines of at most"),
    ],
)
def test_a_bad_line_stops_before_any_work(
    toy: Toy, tmp_path: Path, text: bytes, line: int, problem: str
) -> None:
    (tmp_path / "q.tsv").write_bytes(text)
    with pytest.raises(DatasetError) as caught:
        run(tmp_path / "q.tsv", toy, tmp_path / "a.tsv", JobOptions(shard=1))
    assert caught.value.line == line
    assert problem in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["q.tsv"]


def test_files_that_cannot_be_read_are_named(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"Q0000001\tP1\t?\n" * 99)[:-9])
    (tmp_path / "text.parquet").write_text("Q0000001\tP1\t?\n")
    parquet.write_table(arrow_table({"head": ["Q0000001"]}), tmp_path / "narrow.parquet")
    numbers = arrow_table({"head": [1], "relation": ["P1"], "tail": [""]})
    parquet.write_table(numbers, tmp_path / "numbers.parquet")
    for name in ("absent.tsv", "cut.gz", "text.parquet", "narrow.parquet", "numbers.parquet"):
        with pytest.raises(DatasetError) as caught:
            run(tmp_path / name, toy, tmp_path / "a.tsv")
        assert caught.value.path.name == name


@pytest.mark.parametrize("workers", [1, 2])
def test_unknown_names_can_be_skipped_and_are_kept(toy: Toy, tmp_path: Path, workers: int) -> None:
    asked = questions(30)
    asked[4], asked[5], asked[29] = ("nobody", "P1", "?"), ("?", "P7", "twin"), ("", "P1", "twin")
    source = write(tmp_path / "q.tsv", asked)
    output = Output(tmp_path / "a.tsv", skipped=tmp_path / "s.tsv")
    options = JobOptions(k=3, skip_unknown=True, shard=5)
    tally = predict_file(source, toy.path, output, options, workers=workers)
    assert tally == Tally(questions=27, answers=81, exact=27, skipped=3)
    header, *rows = lines(tmp_path / "s.tsv")
    assert header == ["line", "head", "relation", "tail", "reason"]
    assert [row[:4] for row in rows] == [
        ["5", "nobody", "P1", "?"],
        ["6", "?", "P7", "twin"],
        ["30", "", "P1", "twin"],
    ]
    assert rows[0][4] == "no entity is called 'nobody'"
    numbers = {int(row[0]) for row in lines(tmp_path / "a.tsv")[1:]}
    assert numbers == set(range(1, 31)) - {5, 6, 30}


def test_a_name_with_a_tab_or_a_line_end_stays_one_field(toy: Toy, tmp_path: Path) -> None:
    source = arrow_table(
        {"head": ["a\tb\nc", "Q0000001"], "relation": ["P1"] * 2, "tail": ["?"] * 2}
    )
    parquet.write_table(source, tmp_path / "q.parquet")
    output = Output(tmp_path / "a.tsv", skipped=tmp_path / "s.tsv")
    predict_file(tmp_path / "q.parquet", toy.path, output, JobOptions(skip_unknown=True), workers=1)
    _, row = lines(tmp_path / "s.tsv")
    assert row[:4] == ["1", r"a\tb\nc", "P1", "?"]


def test_an_empty_file_has_no_answers(toy: Toy, tmp_path: Path) -> None:
    for ending in (".tsv", ".parquet"):
        assert run(write(tmp_path / "q.tsv", []), toy, tmp_path / f"a{ending}") == Tally()
    assert len(lines(tmp_path / "a.tsv")) == 1
    assert parquet.read_table(tmp_path / "a.parquet").num_rows == 0


def test_without_exactness_answers_say_whether_they_are_certain(toy: Toy, tmp_path: Path) -> None:
    source = write(tmp_path / "q.tsv", questions(40))
    certain = run(source, toy, tmp_path / "a.tsv", JobOptions(k=2))
    quick = run(source, toy, tmp_path / "b.tsv", JobOptions(k=2, exact=False))
    assert quick.answers == certain.answers
    marked = {row[0] for row in lines(tmp_path / "b.tsv")[1:] if row[10] == "true"}
    assert len(marked) == quick.exact <= certain.exact == 40


@pytest.mark.parametrize(("workers", "error"), [(1, BundleError), (2, JobError)])
def test_a_bundle_that_is_replaced_meanwhile_answers_nothing(
    tmp_path: Path, workers: int, error: type[MuldeError]
) -> None:
    """Else the answers of one file would be of two models, or not of the one that was verified."""
    toy, replaced = toy_bundle(tmp_path / "toy", seed=1), list[int]()

    def replace(done: int, total: int) -> None:
        if not replaced:
            toy_bundle(toy.path, seed=2, overwrite=True)
            replaced.append(done)

    source = write(tmp_path / "q.tsv", [("Q0000001", "P0", "?")] * 50)
    output, options = Output(tmp_path / "a.tsv"), JobOptions(shard=10)
    with pytest.raises(error, match=r"another one|the bundle was replaced"):
        predict_file(source, toy.path, output, options, workers=workers, report=replace)
    assert replaced == [0]
    assert not output.answers.exists()


def test_what_is_there_is_replaced_only_on_request(toy: Toy, tmp_path: Path) -> None:
    source, out = write(tmp_path / "q.tsv", questions(3)), tmp_path / "a.tsv"
    out.write_text("precious")
    with pytest.raises(JobError, match="exists"):
        run(source, toy, out)
    assert out.read_text() == "precious"
    predict_file(source, toy.path, Output(out, overwrite=True), JobOptions(k=2), workers=1)
    assert len(lines(out)) == 7


def test_what_cannot_be_asked_is_refused(toy: Toy, tmp_path: Path) -> None:
    source, out = write(tmp_path / "q.tsv", questions(3)), tmp_path / "a.tsv"
    for options in (
        JobOptions(k=0),
        JobOptions(k=E + 1),
        JobOptions(min_probability=2),
        JobOptions(shard=0),
    ):
        with pytest.raises(InvalidArgument):
            run(source, toy, out, options)
    with pytest.raises(BundleError):
        predict_file(source, tmp_path / "nothing", Output(out), JobOptions(), workers=1)
    with pytest.raises(JobError, match="its folder"):
        run(source, toy, tmp_path / "nowhere" / "a.tsv")
    with pytest.raises(JobError, match="found a folder"):
        predict_file(source, toy.path, Output(tmp_path, overwrite=True), JobOptions(), workers=1)
    with pytest.raises(ConfigError, match="another file"):
        predict_file(source, toy.path, Output(out, skipped=out), JobOptions(), workers=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_completion_finds_every_probable_unknown_fact_once(
    toy: Toy, tmp_path: Path, workers: int
) -> None:
    least, margin = 0.3, 1e-6
    out, options = tmp_path / "c.tsv", JobOptions(min_probability=least, shard=40)
    tally = complete(toy.path, Output(out), options, workers=workers)
    curve = open_bundle(toy.path).calibration
    assert curve is not None
    wanted: set[tuple[int, ...]] = set()
    doubtful: set[tuple[int, ...]] = set()
    asked = 0
    known = set(map(tuple, toy.triples.tolist()))
    for relation in range(R):
        part = toy.triples[toy.triples[:, 1] == relation]
        heads, tails = np.unique(part[:, 0]), np.unique(part[:, 2])
        scores = toy.scores(heads, np.full(len(heads), relation))[:, tails]
        rows_asked = np.full(scores.size, relation)
        probable = curve.probability(scores.ravel(), rows_asked, priors=True).reshape(scores.shape)
        asked += len(heads)
        for place, tail in np.argwhere(probable >= least - margin).tolist():
            fact = (int(heads[place]), relation, int(tails[tail]))
            if fact not in known:
                near = probable[place, tail] < least + margin
                (doubtful if near else wanted).add(fact)
    rows = lines(out)[1:]
    found = [(int(row[1][1:]), int(row[2][1:]), int(row[5][1:])) for row in rows]
    most = max(int(row[4]) for row in rows)
    assert most > 16
    assert len(found) == len(set(found)) == tally.answers
    assert wanted <= set(found) <= wanted | doubtful
    assert (tally.questions, tally.exact) == (asked, asked)
    order = [(int(row[0]), int(row[4])) for row in rows]
    assert order == sorted(order)


def test_a_completion_of_a_graph_smaller_than_k(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy", entities=4, relations=1)
    options = JobOptions(k=10, min_probability=0)
    tally = complete(toy.path, Output(tmp_path / "c.tsv"), options, workers=1)
    heads, tails = (set(toy.triples[:, column].tolist()) for column in (0, 2))
    assert tally.answers == len(heads) * len(tails) - len(toy.triples)


def test_a_completion_needs_known_facts(tmp_path: Path) -> None:
    toy = toy_bundle(tmp_path / "toy", known=False)
    with pytest.raises(Unsupported, match="known facts"):
        complete(toy.path, Output(tmp_path / "c.tsv"), JobOptions(), workers=1)


def test_parquet_has_plain_strings_each_kept_once_in_a_group_of_rows(
    toy: Toy, tmp_path: Path
) -> None:
    source = write(tmp_path / "q.tsv", questions(64))
    run(source, toy, tmp_path / "a.parquet", JobOptions(k=20, shard=32))
    with parquet.ParquetFile(tmp_path / "a.parquet") as file:
        names = ("head", "relation", "tail", "answer", "label")
        assert {str(file.schema_arrow.field(name).type) for name in names} == {"string"}
        assert file.metadata.num_row_groups == 2
        group = file.metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(11)}
        assert all(columns[name].has_dictionary_page for name in names)
        assert not columns["score"].has_dictionary_page


def test_a_name_found_before_is_found_again_and_an_unknown_one_is_not_kept(toy: Toy) -> None:
    resolver = Resolver(open_bundle(toy.path).vocabulary)
    heads = ["Q0000007", "nobody", "thing 9", "Q0000007"]
    shard = Questions(1, 1, heads, ["P1", "relation 2", "P1", "P9"], ["?"] * 4)
    for _ in range(2):
        entities, relations = resolver.rows(shard)
        assert entities.tolist() == [7, -1, 9, 7]
        assert relations.tolist() == [1, 2, 1, -1]
        assert "nobody" in str(resolver.unknown(Path("q.tsv"), shard, 1))
