"""The table of every training run: recipe, seed, machine, seconds, valid and test figures.

    python -m benchmarks.accuracy add RUN/junior --data DIR    # reads the test split: once per run
    python -m benchmarks.accuracy add-text BUNDLE              # of a bundle with text columns
    python -m benchmarks.accuracy page                         # make accuracy

``add`` keeps a run's own record in ``benchmarks/records/``, ``add-text`` a bundle's own figures in
``benchmarks/records/text/``; ``page`` writes ``accuracy.md``, ``accuracy.json`` and the curves from
those records alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.accuracy_page import Record, TextRecord, write_page
from benchmarks.record_files import read_records, write_json
from mulde.bundle import files
from mulde.bundle.manifest import Manifest
from mulde.errors import ConfigError
from mulde.evaluation.metrics import RankingTask
from mulde.graph.graph import Graph, read_folder
from training.checkpoint import read_checkpoint
from training.distillation.senior import Senior, attention_temperature
from training.evaluate import as_served, scores_of, scores_of_senior
from training.recipe import Recipe
from training.recipe_file import read_recipe
from training.scorers import Scorer
from training.train import load_scorer, read_record

HERE = Path(__file__).parent
RECORDS = HERE / "records"
TEXT_RECORDS = RECORDS / "text"

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="RUN/junior, RUN/baseline or a teacher's folder.")],
    data: Annotated[Path, typer.Option(help="The graph's folder.")],
    recipe: Annotated[Path | None, typer.Option(help="Default: RUN/recipe.toml.")] = None,
    teachers: Annotated[Path | None, typer.Option(help="Default: RUN/teachers.")] = None,
) -> None:
    """Rank test once and keep the run's record."""
    record = record_of(
        folder,
        read_folder(data),
        read_recipe(recipe or folder.parent / "recipe.toml"),
        teachers or folder.parent / "teachers",
    )
    path = RECORDS / f"{record.name}.json"
    write_json(path, asdict(record))
    typer.echo(f"{path}: test MRR {record.test['mrr']:.4f}")


def record_of(folder: Path, graph: Graph, recipe: Recipe, teacher_runs: Path) -> Record:
    """The record of a finished run; ranks the test split, so it is made once per run."""
    scorer, state = load_scorer(folder / "best.pt", graph)
    tasks = [RankingTask.of(graph, split) for split in ("valid", "test")]
    scores = as_served(scorer, graph, recipe, tasks[0])
    valid, test = (task.quality(scores)["total"] for task in tasks)
    departs = bool(recipe.self_loops_below or recipe.most_priors)
    last = read_checkpoint(folder / "last.pt")["progress"]
    identity, lines = state["identity"], read_record(folder)
    return Record(
        graph=graph.name,
        recipe=recipe.name,
        recipe_sha256=recipe.digest,
        stage=folder.name,
        model=identity["model"],
        training=identity["training"],
        teachers=identity.get("teachers", []),
        seed=identity["seed"],
        machine=state.get("machine", "not recorded"),
        epochs=last["epoch"],
        best_epoch=last["best_epoch"],
        seconds=round(last["seconds"], 1),
        queries_per_s=round(last["queries"] * last["epoch"] / last["seconds"], 1),
        valid=valid,
        test=test,
        curve=[(round(line["seconds"], 1), line["valid"]["total"]["mrr"]) for line in lines],
        senior=senior_quality(scorer, state, graph, recipe, teacher_runs),
        self_loops_below=recipe.self_loops_below,
        relation_priors=recipe.most_priors,
        plain=tasks[1].quality(scores_of(scorer))["total"] if departs else None,
    )


def senior_quality(
    junior: Scorer, state: Mapping[str, Any], graph: Graph, recipe: Recipe, teacher_runs: Path
) -> dict[str, dict[str, float]] | None:
    """Quality by split of the Senior's answers; ``None`` for a model without teachers."""
    names = state["identity"].get("teachers", [])
    if not names:
        return None
    how = recipe.distillation
    senior = Senior(graph.num_relations, len(names), scaling=how.scaling, attention=how.attention)
    senior.weight.data = state["objective"]["senior.weight"]
    teachers = [load_scorer(teacher_runs / name / "best.pt", graph)[0] for name in names]
    tau = attention_temperature(state["progress"]["epoch"] - 1, how.attention_period)
    count = min(how.candidates, graph.num_entities)
    scores = scores_of_senior(senior, teachers, junior, count, tau)
    return {
        split: RankingTask.of(graph, split).quality(scores)["total"] for split in ("valid", "test")
    }


@app.command()
def add_text(
    bundle: Annotated[Path, typer.Argument(help="A bundle with text columns.")],
) -> None:
    """Keep what a bundle with text columns says of its own quality."""
    path = bundle / files.MANIFEST
    record = text_record_of(Manifest.from_json(path, files.read_small(path)))
    kept = TEXT_RECORDS / f"{record.recipe}.json"
    write_json(kept, asdict(record))
    typer.echo(f"{kept}: test MRR {record.scorer['mrr']:.4f}")


def text_record_of(manifest: Manifest) -> TextRecord:
    """The figures of a bundle with text columns, as its export measured them."""
    quality, scorer = manifest.quality, manifest.scorer_quality
    if not (manifest.text and scorer):
        expected = "a bundle with text columns that was exported by this release"
        raise ConfigError("bundle", expected, manifest.name)
    return TextRecord(
        graph=manifest.dataset.name,
        recipe=manifest.recipe.name,
        model=f"{manifest.family}, {manifest.score.kind}",
        dimension=manifest.dimension,
        text=manifest.text,
        valid=quality["valid"]["total"]["mrr"],
        valid_without_text=manifest.checks["mrr_without_text"],
        scorer=scorer["test"]["total"],
        test=quality["test"]["total"],
    )


@app.command()
def page() -> None:
    """Write the tables, the JSON and the curves."""
    records = [Record(**kept) for kept in read_records(RECORDS)]
    records.sort(key=lambda r: (r.graph, r.recipe, r.stage, r.seed))
    write_json(HERE / "accuracy.json", [asdict(record) for record in records])
    texts = [TextRecord(**kept) for kept in read_records(TEXT_RECORDS)]
    write_page(HERE, records, texts)
    typer.echo(f"{len(records)} runs in {HERE / 'accuracy.md'}")


if __name__ == "__main__":
    app()
