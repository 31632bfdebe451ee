"""A batch job that is killed at any moment goes on, and its result is the same to the last byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mulde.errors import JobError
from serving.batch.job_state import JobState, Tally, part_path, write_record
from serving.batch.predict import Output, predict_file
from serving.batch.predictor import JobOptions
from tests.support.toy import Toy, toy_bundle

E, R, QUESTIONS, SHARD = 300, 3, 3000, 50
DEADLINE_S = 120

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return toy_bundle(tmp_path_factory.mktemp("batch") / "toy", entities=E, relations=R)


def write_questions(path: Path) -> Path:
    generator = np.random.default_rng(1)
    rows, relations = generator.integers(E, size=QUESTIONS), generator.integers(R, size=QUESTIONS)
    pairs = zip(rows.tolist(), relations.tolist(), strict=True)
    text = "".join(f"Q{row:07d}\tP{relation}\t?\n" for row, relation in pairs)
    path.write_text(text + "nobody\tP0\t?\n")
    return path


def command(toy: Toy, source: Path, out: Path, workers: int) -> list[str]:
    skipped = out.with_suffix(".skipped")
    arguments = [source, "-o", out, "--bundle", toy.path, "--skip-unknown", skipped]
    arguments += ["--workers", workers, "--shard", SHARD]
    return [sys.executable, "-m", "mulde.cli", "predict", *map(str, arguments)]


def shards_done(out: Path) -> int:
    return len(list(out.with_name(f".{out.name}.job").glob("0*.json")))


def kill_when(process: subprocess.Popen[bytes], out: Path, shards: int) -> None:
    """SIGKILL, as soon as so many shards are done."""
    end = time.monotonic() + DEADLINE_S
    while shards_done(out) < shards and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.001)
    assert process.poll() is None, f"it ended with {process.returncode}, before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


def living(group: int) -> list[str]:
    """Processes of a group that are no zombies, from /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, leader = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it has just ended
        if int(leader) == group and state != "Z":
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize(("workers", "ending"), [(1, ".tsv"), (2, ".tsv.gz"), (2, ".parquet")])
def test_a_killed_run_goes_on_to_the_same_bytes(
    toy: Toy, tmp_path: Path, workers: int, ending: str
) -> None:
    source = write_questions(tmp_path / "q.tsv")
    whole, out = tmp_path / f"whole{ending}", tmp_path / f"a{ending}"
    output = Output(whole, skipped=tmp_path / "whole.skipped")
    options = JobOptions(skip_unknown=True, shard=SHARD)
    predict_file(source, toy.path, output, options, workers=1)
    moments = np.random.default_rng(workers + len(ending)).integers(1, 45, size=3)
    for shards in np.sort(moments).tolist():
        with subprocess.Popen(
            command(toy, source, out, workers), stderr=subprocess.DEVNULL
        ) as process:
            kill_when(process, out, shards)
        assert not out.exists()
    before = shards_done(out)
    done = subprocess.run(command(toy, source, out, workers), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert before > 0
    assert "3,000 queries" in done.stderr
    assert "1 skipped" in done.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert out.with_suffix(".skipped").read_bytes() == (tmp_path / "whole.skipped").read_bytes()
    # The record of a finished job is a hidden file.
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    made = {whole.name, "whole.skipped", out.name, out.with_suffix(".skipped").name}
    assert left == {"q.tsv", *made}


@needs_proc
def test_workers_end_with_the_process_that_started_them(toy: Toy, tmp_path: Path) -> None:
    source, out = write_questions(tmp_path / "q.tsv"), tmp_path / "a.tsv"
    with subprocess.Popen(
        command(toy, source, out, 2), stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        kill_when(process, out, 3)
    end = time.monotonic() + DEADLINE_S
    while living(process.pid):
        assert time.monotonic() < end
        time.sleep(0.01)


@needs_proc
def test_a_killed_worker_ends_the_run_which_can_go_on(toy: Toy, tmp_path: Path) -> None:
    source, out = write_questions(tmp_path / "q.tsv"), tmp_path / "a.tsv"
    with subprocess.Popen(
        command(toy, source, out, 2), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        end = time.monotonic() + DEADLINE_S
        while shards_done(out) < 2:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.001)
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in living(process.pid)}
        workers = [int(pid) for pid, text in commands.items() if b"spawn_main" in text]
        os.kill(workers[0], signal.SIGKILL)
        _, told = process.communicate()
    assert process.returncode == 1
    assert "a worker process ended early" in " ".join(told.split())
    assert "Traceback" not in told
    assert not out.exists()
    assert subprocess.run(command(toy, source, out, 2), stderr=subprocess.DEVNULL).returncode == 0
    assert len(out.read_text().splitlines()) == 10 * QUESTIONS + 1


def test_a_job_of_other_questions_or_options_does_not_go_on(toy: Toy, tmp_path: Path) -> None:
    target = tmp_path / "a.tsv"
    JobState(target, {"k": 10, "bundle": "x"}).close()
    with pytest.raises(JobError, match="k was 10 and is now 5"):
        JobState(target, {"k": 5, "bundle": "x"})
    state = JobState(target, {"k": 5, "bundle": "x"}, restart=True)
    assert state.tally(0) is None
    state.close()


def test_what_is_done_is_kept_until_a_restart(tmp_path: Path) -> None:
    target = tmp_path / "a.tsv"
    state = JobState(target, {"k": 10})
    part_path(state.folder, 2, "answers").write_text("x")
    write_record(state.folder, 2, Tally(3, 30, 3))
    state.close()
    state = JobState(target, {"k": 10})
    assert [state.tally(number) for number in (1, 2)] == [None, Tally(3, 30, 3)]
    state.close()
    state = JobState(target, {"k": 10}, restart=True)
    assert state.tally(2) is None
    joined: list[Path] = []
    state.join("answers", range(3), joined.append)
    assert joined == []
    state.close()


def test_files_that_a_killed_job_has_placed_are_its_own(tmp_path: Path) -> None:
    target, other = tmp_path / "a.tsv", tmp_path / "skipped"
    state = JobState(target, {"k": 10})
    for path in (target, other):
        state.temporary().write_text("whole")
        state.place(state.temporary(), path)
    state.close()
    Output(target, skipped=other).check()
    with pytest.raises(JobError, match=r"a\.tsv: exists"):
        Output(target, skipped=other, restart=True).check()
    other.write_text("another's")
    with pytest.raises(JobError, match="skipped: exists"):
        Output(target, skipped=other).check()


PLACED_TWICE = """
import os, signal, sys
from pathlib import Path
from serving.batch.job_state import JobState

target = Path(sys.argv[1])

def die(name, arguments):
    if name == "os.rename" and os.fspath(arguments[1]) == str(target):
        os.kill(os.getpid(), signal.SIGKILL)

state = JobState(target, {"k": 10})
for content in ("whole", "whole again"):
    state.temporary().write_text(content)
    if content == "whole again":
        sys.addaudithook(die)
    state.place(state.temporary(), target)
"""


def test_a_file_is_its_jobs_own_still_when_it_was_to_be_placed_again(tmp_path: Path) -> None:
    """Killed twice: once when the file was in its place, once just before the next came there."""
    target = tmp_path / "a.tsv"
    code = [sys.executable, "-c", PLACED_TWICE, str(target)]
    assert subprocess.run(code, check=False).returncode == -signal.SIGKILL
    assert target.read_text() == "whole"
    Output(target).check()
    target.write_text("another's")
    with pytest.raises(JobError, match=r"a\.tsv: exists"):
        Output(target).check()


def test_what_a_finished_job_left_when_it_was_killed_goes_with_the_next(tmp_path: Path) -> None:
    target = tmp_path / "a.tsv"
    state = JobState(target, {"k": 10})
    state.close()
    state.folder.rename(state.folder.with_name(state.folder.name + ".done"))
    target.write_text("whole")
    with pytest.raises(JobError, match="exists"):
        Output(target).check()
    assert list(tmp_path.iterdir()) == [target]


EXITS_LATE = """
import os, signal, sys
from pathlib import Path
from serving.batch import predict
from serving.batch.predictor import JobOptions

source, bundle, out = map(Path, sys.argv[1:])
predict.predict_file(source, bundle, predict.Output(out), JobOptions(k=3), workers=1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_job_that_is_killed_after_it_published_finds_its_own_result(
    toy: Toy, tmp_path: Path
) -> None:
    source, out = tmp_path / "q.tsv", tmp_path / "a.tsv"
    source.write_text("Q0000001\tP0\t?\nQ0000002\tP1\t?\n")
    code = [sys.executable, "-c", EXITS_LATE, str(source), str(toy.path), str(out)]
    assert subprocess.run(code, check=False).returncode == -signal.SIGKILL
    published = out.stat()
    options, output = JobOptions(k=3), Output(out)
    tally = predict_file(source, toy.path, output, options, workers=1)
    assert tally.questions == 2
    assert out.stat() == published
    with pytest.raises(JobError, match="exists"):
        predict_file(source, toy.path, output, JobOptions(k=4), workers=1)
    out.write_text("another's")
    with pytest.raises(JobError, match="exists"):
        predict_file(source, toy.path, output, options, workers=1)


def test_a_full_disk_ends_the_job_with_a_sentence_and_it_goes_on(toy: Toy, tmp_path: Path) -> None:
    source, out = write_questions(tmp_path / "q.tsv"), tmp_path / "a.tsv"
    again = command(toy, source, out, 2)
    # Of a file; that is what a process can be told of a disk that is full.
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))"
    code = f"{limited}; sys.argv = sys.argv[1:]; runpy.run_module('mulde.cli', run_name='__main__')"
    # What counts the lines of a process would find no room for them either.
    plain = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    full = subprocess.run(
        [again[0], "-c", code, *again[2:]], capture_output=True, text=True, env=plain
    )
    assert full.returncode == 1
    assert "a.tsv: cannot be written: File too large; what is done is kept" in full.stderr
    assert "Traceback" not in full.stderr
    assert not out.exists()
    assert subprocess.run(again, stderr=subprocess.DEVNULL).returncode == 0
    assert len(out.read_text().splitlines()) == 10 * QUESTIONS + 1


def test_two_processes_never_work_on_one_result(tmp_path: Path) -> None:
    state = JobState(tmp_path / "a.tsv", {"k": 10})
    with pytest.raises(JobError, match="another process"):
        JobState(tmp_path / "a.tsv", {"k": 10}, restart=True)
    state.close()
    JobState(tmp_path / "a.tsv", {"k": 10}).close()


def test_changed_questions_are_not_mixed_with_answers_to_the_old(toy: Toy, tmp_path: Path) -> None:
    source, out = write_questions(tmp_path / "q.tsv"), tmp_path / "a.tsv"
    with subprocess.Popen(command(toy, source, out, 1), stderr=subprocess.DEVNULL) as process:
        kill_when(process, out, 2)
    source.write_text("Q0000001\tP1\t?\n")
    again = command(toy, source, out, 1)
    refused = subprocess.run(again, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "questions was" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    anew = subprocess.run([*again, "--restart"], capture_output=True, text=True)
    assert anew.returncode == 0, anew.stderr
    assert len(out.read_text().splitlines()) == 11
