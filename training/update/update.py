"""From a bundle and changed facts to the next version of the bundle.

An update's run folder::

    RUN/graph/         the changed graph: give it to the next update with --data
    RUN/teachers/      the updated teachers, where the run of the model has its teachers
    RUN/junior/        the updated model: give best.pt to the next update with --checkpoint
    RUN/recipe.toml    the recipe of the bundle

Each part appears whole, so the same command continues after an interrupt; the bundle is published
last. The old bundle is only read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mulde.bundle import files
from mulde.bundle.bundle import Bundle, open_bundle
from mulde.bundle.files import manifest_digest
from mulde.bundle.job import job_of, own_result
from mulde.bundle.manifest import Manifest
from mulde.errors import BundleError, CheckpointError, ConfigError
from mulde.graph.changes import ChangedGraph, changed, write_changed
from mulde.graph.graph import Graph, read_folder
from mulde.graph.reading.read import GraphData
from mulde.storage.atomic import new_file
from training.checkpoint import alone, read_checkpoint, writing
from training.export.export import export
from training.loop import Progress
from training.recipe_file import read_recipe
from training.train import Device
from training.update.continued import UpdateSettings, continue_training
from training.update.growth import Growth
from training.update.known_graph import descriptions_of_bundle, graph_of_bundle
from training.update.recover import recover_checkpoint

JOB = "job"
"""A file in a run's folder: the digest of the update that works there."""

LOCK = ".lock"
"""A folder in a run's folder that a running update has locked."""

Report = Callable[[str, Progress], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class GraphChanges:
    """Facts to add and to remove; None for none.

    Attributes:
        add, remove: the facts.
        absent: pass over removals that the graph does not have, as a server's store may hold.
    """

    add: GraphData | None
    remove: GraphData | None
    absent: bool = False


@dataclass(frozen=True)
class UpdateSource:
    """What an update starts from.

    Attributes:
        bundle: the old version.
        graph: that the model was trained on, or the bundle's known facts as train.
        folder: of the graph, or None.
        checkpoint: ``best.pt`` of the model.
    """

    bundle: Bundle
    graph: Graph
    folder: Path | None
    checkpoint: Path

    @classmethod
    def read(
        cls, bundle: Path, data: Path | None, checkpoint: Path | None, run: Path
    ) -> UpdateSource:
        """Open the bundle; without a checkpoint, make one of the bundle's table and encoder.

        Raises:
            BundleError: if the bundle cannot be opened, is of another graph than ``data``, or
                carries no facts and no ``data`` is given.
        """
        opened = open_bundle(bundle)
        if data is None and opened.known is None:
            problem = "carries no facts; name the folder of its graph with --data"
            raise BundleError(bundle, problem)
        graph = graph_of_bundle(opened) if data is None else read_folder(data)
        if graph.digest != opened.manifest.dataset.sha256:
            raise BundleError(bundle, f"was trained on another graph than {data}")
        found = checkpoint or recover_checkpoint(opened, graph, run / "recovered" / "best.pt")
        return cls(opened, graph, data, found)


def update(
    bundle: Path,
    changes: GraphChanges,
    out: Path,
    run: Path,
    *,
    data: Path | None = None,
    checkpoint: Path | None = None,
    version: str | None = None,
    settings: UpdateSettings,
    device: Device,
    overwrite: bool = False,
    report: Report = lambda stage, progress: None,
    say: Say = lambda sentence: None,
) -> Manifest:
    """Train a bundle's model further on a changed graph and write the next version.

    Args:
        bundle: the old version; it is only read.
        changes: facts to add and to remove.
        out: the new bundle's folder.
        run: folder of graph and checkpoints; an interrupted update continues from it.
        data: graph folder of the old version; None takes the bundle's known facts as train.
        checkpoint: the old model's ``best.pt``; None makes one of the bundle.
        version: of the new bundle; None adds 1 to a whole number.
        settings: how the model is trained.
        device: where.
        overwrite: whether a bundle at ``out`` may be replaced.
        report: is told of every epoch.
        say: is told of every step.

    Returns:
        The manifest as published.

    Raises:
        DatasetError: for changes that contradict each other or do not fit the graph.
        BundleError: for an unfit bundle, or if ``out`` exists.
        CheckpointError: for an unfit checkpoint, a run folder of other changes, or one that another
            process uses.
    """
    with alone(run / LOCK):
        source = UpdateSource.read(bundle, data, checkpoint, run)
        called = version or _next(source.bundle.manifest)
        found = _changed(source, changes)
        job = job_of(
            "update",
            bundle=manifest_digest(bundle),
            checkpoint=checkpoint,
            graph=found.digest,
            settings=asdict(settings),
            version=called,
        )
        if out.exists() and not overwrite:
            return _own(out, job)
        _claim(run / JOB, job)
        growth = _written(found, source, changes, run, say)
        best = _train(source, growth, run, settings, device, report, say)
        say("exporting")
        return export(
            best,
            run / "graph",
            out,
            precision=source.bundle.manifest.precision,
            known=source.bundle.known is not None,
            overwrite=overwrite,
            name=source.bundle.manifest.name,
            version=called,
            job=job,
            report=say,
        )


def _changed(source: UpdateSource, changes: GraphChanges) -> ChangedGraph:
    add, remove = (None if one is None else one.facts for one in (changes.add, changes.remove))
    share = 0.1 if source.folder is None else 0.05
    return changed(source.graph, add, remove, absent=changes.absent, hold=share)


def _own(out: Path, job: str) -> Manifest:
    """The result of the same update, which was killed just after it had published."""
    made = own_result(out, job)
    if made is None:
        raise BundleError(out, "exists; say that it may be overwritten, or take another name")
    return made


def _claim(path: Path, job: str) -> None:
    """Refuse a run's folder that holds another update, before anything in it changes."""
    with writing(path):
        if not path.exists():
            with new_file(path) as draft:
                draft.write_text(job + "\n", encoding="utf-8")
        if path.read_text(encoding="utf-8").strip() != job:
            problem = "holds an update of other facts or settings; take another --run"
            raise CheckpointError(path.parent, problem)


def _written(
    found: ChangedGraph, source: UpdateSource, changes: GraphChanges, run: Path, say: Say
) -> Growth:
    """Write the changed graph and compare it with the old one."""
    given = tuple(one for one in (changes.add, changes.remove) if one is not None)
    told = descriptions_of_bundle(source.bundle) if source.folder is None else {}
    write_changed(found, source.graph, run / "graph", given, source.folder, told)
    with writing(run / files.RECIPE), new_file(run / files.RECIPE) as draft:
        shutil.copyfile(source.bundle.file(files.RECIPE), draft)
    growth = Growth.between(source.graph, read_folder(run / "graph"))
    say(
        f"{found.added:,} facts added ({found.known:,} were known), {found.removed:,} removed; "
        f"{len(growth.new_entities):,} new entities, {len(growth.new_relations):,} new relations; "
        f"{int(growth.changed.sum()):,} of {len(growth.queries):,} queries changed"
    )
    return growth


def _train(
    source: UpdateSource,
    growth: Growth,
    run: Path,
    settings: UpdateSettings,
    device: Device,
    report: Report,
    say: Say,
) -> Path:
    """Update the teachers that can be found, then the model."""
    recipe = read_recipe(run / files.RECIPE)
    teachers = _teachers(source.checkpoint)
    if not teachers:
        say(
            "no teachers beside the checkpoint: the model as it was answers for what did not change"
        )
    updated = []
    for number, base in enumerate(teachers, start=1):
        folder, name = run / "teachers" / base.parent.name, f"teacher {number}"
        plain = replace(settings, memory=0.0)
        updated.append(
            continue_training(
                base, growth, folder, plain, device=device, report=_named(report, name)
            )
        )
    return continue_training(
        source.checkpoint,
        growth,
        run / "junior",
        settings,
        device=device,
        teachers=updated,
        distillation=recipe.distillation,
        about=_about(source.bundle.manifest),
        report=_named(report, "junior"),
    )


def _about(manifest: Manifest) -> dict[str, str | float]:
    """The old version, for the new one's card."""
    figures = manifest.quality.get("test", {}).get("total", {})
    tested = {"test_mrr": figures["mrr"]} if "mrr" in figures else {}
    return {"version": manifest.version, **tested}


def _named(report: Report, name: str) -> Callable[[Progress], None]:
    return lambda progress: report(name, progress)


def _teachers(checkpoint: Path) -> list[Path]:
    """The checkpoints of a model's teachers, where all of them lie in its run's folder."""
    names = read_checkpoint(checkpoint)["identity"].get("teachers", ())
    found = [checkpoint.parent.parent / "teachers" / name / "best.pt" for name in names]
    return found if all(path.is_file() for path in found) else []


def _next(manifest: Manifest) -> str:
    """The version after a bundle's."""
    if not manifest.version.isdecimal():
        expected = "a version, since that of the bundle is no whole number"
        raise ConfigError("--version", expected, manifest.version)
    return str(int(manifest.version) + 1)
