"""The jobs that are killed: training, a bundle's making and changing, download, split, predict.

``python -m tests.torture.victims JOB WORK SEED COUNT HARM`` does one kind of harm to one of them
(see ``torture``) and prints what was done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # an optimiser imports it, which takes a second in each child otherwise
import torch.onnx

from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.files import CARD
from mulde.errors import JobError
from mulde.graph.downloading.download import RemoteFile, download, new_client
from mulde.graph.graph import read_folder
from mulde.graph.reading.read import read_graph
from mulde.graph.splitting.split import split_graph
from serving.batch.predict import Output, predict_file
from serving.batch.predictor import JobOptions
from tests.support.graph_bundle import write_graph_and_bundle
from tests.support.runs import CPU, HARDEST_TO_RESUME, recipe_of, state_of, train
from tests.support.tiny import triples, write_tiny_graph
from tests.support.toy import toy_bundle
from tests.torture.killing import Job, torture
from training.auto.fit import fit
from training.export.calibration.recalibrate import recalibrate
from training.export.entity_map import add_map
from training.export.export import export
from training.export.table.shrink import shrink
from training.recipe_file import read_recipe
from training.rules.add import add_rules
from training.train import read_record, stages, train_stage
from training.update.continued import UpdateSettings
from training.update.update import GraphChanges, update

RECIPE = """
name = "tiny"
data = "tiny"
[junior]
scorer = "RotH"
dimension = 8
score = "linear"
spread = 0.1
[junior_training]
epochs = 30
batch = 16
negatives = 16
rate = 0.05
validate_every = 10
"""
QUESTIONS, SHARD = 600, 50
CHANGES = ("calibrate", "shrink", "rules", "map")
SERVED_BYTES, PIECE_BYTES = 400_000, 8192


class Training:
    """A Junior that is distilled from two teachers, one of which is still to be trained."""

    def __init__(self, stand: Path) -> None:
        self.graph = read_folder(write_tiny_graph(stand / "graph"))
        self.recipe = recipe_of(**HARDEST_TO_RESUME, junior_training__epochs=4)
        self.teachers = [s for s in stages(self.recipe, stand) if s.name.startswith("teacher")]

    def work(self, folder: Path) -> None:
        for stage in stages(self.recipe, folder):
            if stage.name != "baseline":
                train_stage(stage, self.recipe, self.graph, CPU)

    def check(self, folder: Path) -> None:
        for path in folder.rglob("*.pt"):
            state_of(path)

    def result(self, folder: Path) -> Any:
        runs = sorted(path.parent for path in folder.rglob("last.pt"))
        return [
            (
                run.name,
                [digest_of(state_of(run / name)) for name in ("best.pt", "last.pt")],
                [{**line, "seconds": 0} for line in read_record(run)],
            )
            for run in runs
        ]


class Export:
    """A bundle that is written in the place of another one."""

    def __init__(self, stand: Path) -> None:
        self.data = write_tiny_graph(stand / "graph")
        self.run = stand / "run"
        self.run.mkdir()
        (self.run / "recipe.toml").write_text(RECIPE)

    def prepare(self) -> None:
        """Train what is exported, in a child, for this process must not use torch."""
        recipe = read_recipe(self.run / "recipe.toml")
        train(recipe, read_folder(self.data), self.run)

    def work(self, folder: Path) -> None:
        target = folder / "bundle"
        if not target.exists():
            toy_bundle(target)
        export(self.run / "junior/best.pt", self.data, target, overwrite=True, name="tiny")

    def check(self, folder: Path) -> None:
        if (folder / "bundle").exists():
            assert open_bundle(folder / "bundle").manifest.name in ("toy", "tiny")

    def result(self, folder: Path) -> Any:
        return payload(open_bundle(folder / "bundle"))


class Update(Export):
    """A new version of a bundle, for a graph that has changed; the old one is only read."""

    overwrite = True
    new = (("fresh", "next", "e03"), ("e02", "beside", "e04"))

    def prepare(self) -> None:
        """Train and export the old version, in a child."""
        super().prepare()
        export(self.run / "junior/best.pt", self.data, self.run / "old", name="tiny")

    def work(self, folder: Path) -> None:
        update(
            self.run / "old",
            GraphChanges(read_graph(self.new), None),
            folder / "bundle",
            folder / "run",
            data=self.data,
            checkpoint=self.run / "junior/best.pt",
            settings=UpdateSettings(epochs=2, candidates=8),
            device=CPU,
            overwrite=self.overwrite,
        )

    def check(self, folder: Path) -> None:
        assert open_bundle(self.run / "old").manifest.version == "1"
        if (folder / "bundle").exists():
            assert open_bundle(folder / "bundle").manifest.version == "2"

    def result(self, folder: Path) -> Any:
        trained = digest_of(state_of(folder / "run" / "junior" / "best.pt"))
        return trained, payload(open_bundle(folder / "bundle"))


class NewExport(Export):
    """A bundle where there was none: a job that was killed after it published finds its own."""

    def work(self, folder: Path) -> None:
        export(self.run / "junior/best.pt", self.data, folder / "bundle", name="tiny")


class NewUpdate(Update):
    """A new version where there was none."""

    overwrite = False


class Change:
    """A bundle that is made of another one without a checkpoint."""

    def __init__(self, stand: Path, kind: str) -> None:
        write_graph_and_bundle(stand)
        self.source, self.kind, self.data = stand / "bundle", kind, stand / "data"

    def work(self, folder: Path) -> None:
        out, graph = folder / "bundle", read_folder(self.data)
        if self.kind == "calibrate":
            recalibrate(self.source, out, graph)
        elif self.kind == "shrink":
            shrink(self.source, out, "int8", graph)
        elif self.kind == "rules":
            add_rules(self.source, out, graph)
        else:
            add_map(self.source, out)

    def check(self, folder: Path) -> None:
        if (folder / "bundle").exists():
            open_bundle(folder / "bundle")

    def result(self, folder: Path) -> Any:
        return payload(open_bundle(folder / "bundle"))


class Fit:
    """A fit that has trained its models: what is left is to choose, export and report.

    Which models it trains depends on how fast they train, so a run of all of it has no equal.
    """

    def __init__(self, stand: Path) -> None:
        self.data, self.trained = write_tiny_graph(stand / "graph"), stand / "trained"

    def prepare(self) -> None:
        """Train, in a child."""
        self.trained.mkdir()
        self.fit(self.trained)
        for name in ("recipe.toml", "decisions.json", "report.html"):
            (self.trained / "run" / name).unlink()

    def work(self, folder: Path) -> None:
        if not (folder / "run").exists():
            shutil.rmtree(folder / "copy", ignore_errors=True)
            shutil.copytree(self.trained / "run", folder / "copy")
            (folder / "copy").rename(folder / "run")
        self.fit(folder)

    def fit(self, folder: Path) -> None:
        """Fit with a clock that stands still; paths are relative, as the plan's are."""
        os.chdir(folder)
        out, run = Path("bundle"), Path("run")
        fit(self.data, out, run, name="tiny", minutes=0.01, device=CPU, now=lambda: 0.0)

    def check(self, folder: Path) -> None:
        if (folder / "bundle").exists():
            assert open_bundle(folder / "bundle").manifest.name == "tiny"
            assert (folder / "run/decisions.json").exists()

    def result(self, folder: Path) -> Any:
        return payload(open_bundle(folder / "bundle"))


class Download:
    """A file from a server that sends it slowly."""

    content = np.random.default_rng(7).bytes(SERVED_BYTES)

    def __init__(self, home: str) -> None:
        sha256 = hashlib.sha256(self.content).hexdigest()
        self.remote = RemoteFile(f"{home}/file.txt", len(self.content), sha256)

    def work(self, folder: Path) -> None:
        with new_client() as client:
            download(client, self.remote, folder, lambda name, done, total: None)

    def check(self, folder: Path) -> None:
        path = folder / "file.txt"
        assert not path.exists() or path.read_bytes() == self.content

    def result(self, folder: Path) -> Any:
        return (folder / "file.txt").read_bytes() == self.content


class Split:
    """A graph folder from one file of triples, over one that is there."""

    def __init__(self, stand: Path) -> None:
        self.source = stand / "facts.tsv"
        self.source.write_text("".join("\t".join(fact) + "\n" for fact in triples()))

    def work(self, folder: Path) -> None:
        split_graph(read_graph(self.source), folder / "graph", overwrite=True)

    def check(self, folder: Path) -> None:
        if (folder / "graph").exists():
            read_folder(folder / "graph")

    def result(self, folder: Path) -> Any:
        return {path.name: path.read_bytes() for path in (folder / "graph").iterdir()}


class Predict:
    """Answers to a file of questions, two of them with unknown names."""

    def __init__(self, stand: Path) -> None:
        self.bundle, self.source = stand / "bundle", stand / "q.tsv"
        toy_bundle(self.bundle)
        asked = np.random.default_rng(1).integers([50, 3], size=(QUESTIONS, 2)).tolist()
        lines = [f"Q{row:07d}\tP{relation}\t?\n" for row, relation in asked]
        self.source.write_text("nobody\tP0\t?\n" + "".join(lines) + "nobody\tP1\t?\n")

    def work(self, folder: Path) -> None:
        output = Output(folder / "a.tsv.gz", skipped=folder / "skipped.tsv")
        options = JobOptions(skip_unknown=True, shard=SHARD)
        try:
            predict_file(self.source, self.bundle, output, options, workers=1)
        except JobError as error:
            if "exists" not in str(error):  # it was done, and only the tidying up was killed
                raise

    def check(self, folder: Path) -> None:
        """Nothing but the result has its name; ``result`` compares it."""

    def result(self, folder: Path) -> Any:
        return [(folder / name).read_bytes() for name in ("a.tsv.gz", "skipped.tsv")]


def payload(bundle: Bundle) -> dict[str, str]:
    """Digests of all files but those that tell times and dates."""
    files = bundle.manifest.files
    return {name: stamp.sha256 for name, stamp in files.items() if name != CARD}


def digest_of(state: Any) -> str:
    """Of all numbers of a checkpoint, to the last bit."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            assert value.isfinite().all() if value.is_floating_point() else True
            found.update(str(value.dtype).encode() + value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                found.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            found.update(repr(value).encode())

    add(state)
    return found.hexdigest()


class _Slow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        body = Download.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            end = start + len(body)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.end_headers()
        try:
            for place in range(0, len(body), PIECE_BYTES):
                self.wfile.write(body[place : place + PIECE_BYTES])
                time.sleep(0.001)
        except ConnectionError:
            self.close_connection = True  # the other end was killed

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output clean."""


@contextmanager
def in_child(work: Callable[[], Any]) -> Iterator[None]:
    """Have something done in a child until the end of the block."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def run(
    kind: str, work: Path, generator: np.random.Generator, count: int, harm: str
) -> dict[str, int]:
    """Torture one job."""
    if kind == "download":
        with HTTPServer(("127.0.0.1", 0), _Slow) as server, in_child(server.serve_forever):
            job: Job = Download(f"http://127.0.0.1:{server.server_address[1]}")
            return asdict(torture(job, work, count, generator, harm))
    stand = work / "stand"
    stand.mkdir()
    prepared: dict[str, type[Export] | type[Fit]] = {
        "export": Export,
        "export anew": NewExport,
        "update": Update,
        "update anew": NewUpdate,
        "fit": Fit,
    }
    if kind in prepared:
        made = prepared[kind](stand)
        child = os.fork()
        if child == 0:
            made.prepare()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        job = made
    elif kind in CHANGES:
        job = Change(stand, kind)
    else:
        jobs: dict[str, Callable[[Path], Job]]
        jobs = {"training": Training, "split": Split, "predict": Predict}
        job = jobs[kind](stand)
    return asdict(torture(job, work, count, generator, harm))


if __name__ == "__main__":
    torch.set_num_threads(1)
    named, place, seed, often, harmed = sys.argv[1:]
    told = run(named, Path(place), np.random.default_rng(int(seed)), int(often), harmed)
    print(json.dumps(told))
