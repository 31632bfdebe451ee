"""Batch prediction: a file of questions, or a whole graph to complete, to a file of answers.

The work is cut into shards, whose parts a state keeps until all are there
(docs/how-to/predict-in-batch.md). Where the cuts are depends on the options alone, so
neither an interrupt nor the number of processes changes a byte of the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.files import manifest_digest
from mulde.errors import ConfigError, DatasetError, InvalidArgument, JobError
from serving.batch.completion import candidates, check_completable
from serving.batch.formats import format_of
from serving.batch.job_state import JobState, Tally
from serving.batch.predictor import ANSWERS, SKIPPED, Heads, JobOptions
from serving.batch.questions import read_questions
from serving.batch.ray_cluster import work_on_ray
from serving.batch.records import COLUMNS
from serving.batch.resolver import Resolver
from serving.batch.text_files import tab_separated
from serving.batch.worker_pool import JobSpec, Shard, work

_SKIPPED_COLUMNS = ("line", "head", "relation", "tail", "reason")

Report = Callable[[int, int], None]
Work = Callable[[JobSpec, Iterable[tuple[int, Shard]]], Iterator[tuple[int, Tally]]]


@dataclass(frozen=True)
class Output:
    """Where results go.

    Attributes:
        answers: the file to make.
        skipped: where questions with unknown names are written; None to stop at the first.
        overwrite: whether files that are there may be replaced.
        restart: throw away what an interrupted job has done.
    """

    answers: Path
    skipped: Path | None = None
    overwrite: bool = False
    restart: bool = False

    def check(self) -> None:
        """Refuse files that are there, folders that are not, and one file for two things.

        Raises:
            JobError: naming the file.
            ConfigError: if both are the same file.
        """
        if self.skipped is not None and self.skipped.absolute() == self.answers.absolute():
            raise ConfigError("--skip-unknown", "another file than the answers", str(self.skipped))
        for path in self.paths:
            if path.is_dir():
                raise JobError(path, "expected the name of a file, found a folder")
            if not path.parent.is_dir():
                raise JobError(path, "expected its folder to be there")
        if not JobState.has_finished(self.answers):
            self.check_new()

    def check_new(self) -> None:
        """Refuse files that are there and are not those of the job that goes on.

        Raises:
            JobError: naming the file.
        """
        for path in self.paths:
            if path.exists() and not (self.overwrite or self._goes_on(path)):
                JobState.sweep(self.answers)
                raise JobError(path, "exists; say that it may be overwritten, or take another name")

    @property
    def paths(self) -> list[Path]:
        """The files to make."""
        return [path for path in (self.answers, self.skipped) if path is not None]

    def _goes_on(self, path: Path) -> bool:
        """Whether a file is that of the job that goes on: it was killed while it placed files."""
        return not self.restart and JobState.has_placed(self.answers, path)


def predict_file(
    source: Path,
    bundle: Path,
    output: Output,
    options: JobOptions,
    *,
    workers: int,
    ray: str | None = None,
    report: Report = lambda done, total: None,
) -> Tally:
    """Answer a file of questions.

    Args:
        source: see ``serving.batch.questions``.
        bundle: the folder.
        output: see ``serving.batch.records``.
        options: for every question.
        workers: processes; without ``ray``.
        ray: address of a Ray cluster, all of whose cores take part instead.
        report: called with the questions done and all of them.

    Returns:
        What was done, by this and by earlier runs that were interrupted.

    Raises:
        DatasetError: naming the line that is malformed, or whose name is unknown; before any work.
        BundleError, InvalidArgument, JobError, ConfigError: if it cannot begin or go on.
    """
    opened = _check(bundle, output, options)
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(source, f"cannot be read: {error}") from error
    total = _survey(source, opened, options)
    job = {"questions": digest, **_job(opened, output, options)}
    spec = _spec(opened, job["bundle"], output, options, source)
    shards = enumerate(read_questions(source, options.size))
    return _run(spec, output, job, shards, total, _work(workers, ray), report)


def complete(
    bundle: Path,
    output: Output,
    options: JobOptions,
    *,
    workers: int,
    ray: str | None = None,
    report: Report = lambda done, total: None,
) -> Tally:
    """All unknown facts above a probability: for each relation, every head and tail it may have.

    Heads and tails of a relation are those that its built-in types list; all entities, where the
    bundle has no types. Arguments, result and errors as for ``predict_file``.

    Raises:
        Unsupported: if the bundle has no known facts or no calibration.
    """
    options = replace(options, k=1)  # it plays no part here, not even in where the cuts are
    opened = _check(bundle, output, options)
    check_completable(opened)
    total = sum(map(len, _heads(opened, options)))
    job = {"complete": options.min_probability, **_job(opened, output, options)}
    spec = _spec(opened, job["bundle"], output, options, bundle)
    return _run(
        spec, output, job, enumerate(_heads(opened, options)), total, _work(workers, ray), report
    )


def _check(bundle: Path, output: Output, options: JobOptions) -> Bundle:
    output.check()
    format_of(output.answers)
    opened = open_bundle(bundle)
    if not 1 <= options.k <= opened.manifest.entities:
        expected = f"1 to {opened.manifest.entities}, the number of entities"
        raise InvalidArgument("k", expected, options.k)
    if options.shard < 1:
        raise InvalidArgument("shard", "at least 1", options.shard)
    if not 0 <= options.min_probability <= 1:
        raise InvalidArgument("min_probability", "a number in [0, 1]", options.min_probability)
    return opened


def _survey(source: Path, bundle: Bundle, options: JobOptions) -> int:
    """Read all questions once, so that a bad one is found before hours of work; their number."""
    total, resolver = 0, Resolver(bundle.vocabulary)
    for shard in read_questions(source, options.size):
        total += len(shard)
        if options.skip_unknown:
            continue
        entities, relations = resolver.rows(shard)
        bad = np.flatnonzero((entities < 0) | (relations < 0))
        if bad.size:
            raise resolver.unknown(source, shard, int(bad[0]))
    return total


def _heads(bundle: Bundle, options: JobOptions) -> Iterator[Heads]:
    """Every question that a completion asks."""
    first = 1
    for relation in range(bundle.manifest.relations):
        entities = candidates(bundle, relation, "head")
        for start in range(0, len(entities), options.size):
            part = entities[start : start + options.size]
            yield Heads(first, relation, part)
            first += len(part)


def _job(bundle: Bundle, output: Output, options: JobOptions) -> dict[str, Any]:
    digest = manifest_digest(bundle.path)
    bundle.check_same()  # the digest is that of what was opened
    skips = {"skip_unknown": output.skipped is not None}
    return {
        "bundle": digest,
        "format": "".join(output.answers.suffixes[-2:]),
        "columns": list(COLUMNS),
        **asdict(options),
        **skips,
    }


def _spec(
    bundle: Bundle, digest: str, output: Output, options: JobOptions, source: Path
) -> JobSpec:
    folder = JobState.folder_of(output.answers)
    return JobSpec(bundle.path, digest, options, folder, output.answers, source)


def _work(workers: int, ray: str | None) -> Work:
    return partial(work, workers=workers) if ray is None else partial(work_on_ray, address=ray)


def _run(
    spec: JobSpec,
    output: Output,
    job: dict[str, Any],
    shards: Iterator[tuple[int, Shard]],
    total: int,
    work: Work,
    report: Report,
) -> Tally:
    done_before = None
    if not (output.overwrite or output.restart):
        done_before = JobState.finished(output.answers, job, output.paths)
    if done_before is not None:
        JobState.tidy(output.answers, job)
        report(done_before.done, total)
        return done_before
    output.check_new()
    state = JobState(output.answers, job, restart=output.restart)
    draft = state.temporary()
    try:
        tally, count, joined = Tally(), 0, 0

        def open_shards() -> Iterator[tuple[int, Shard]]:
            nonlocal tally, count
            for number, shard in shards:
                count = number + 1
                done = state.tally(number)
                if done is None:
                    yield number, shard
                else:
                    tally += done
                    report(tally.done, total)

        report(0, total)
        with format_of(output.answers).whole(draft) as join:
            # While others answer, this process joins what lies before.
            for number, done in work(spec, open_shards()):
                tally += done
                report(tally.done, total)
                state.join(ANSWERS, range(joined, number + 1), join)
                joined = number + 1
            state.join(ANSWERS, range(joined, count), join)
        if output.skipped is not None:
            _place_skipped(state, output.skipped, count)
        state.place(draft, output.answers)
        state.remove(tally)
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}; what is done is kept"
        raise JobError(output.answers, problem) from error
    finally:
        state.close()
    return tally


def _place_skipped(state: JobState, path: Path, shards: int) -> None:
    """Join what was skipped; the file appears whole."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(tab_separated([name] for name in _SKIPPED_COLUMNS))
        state.join(SKIPPED, range(shards), lambda part: file.write(part.read_bytes()))
    state.place(draft, path)
