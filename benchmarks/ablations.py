"""What each part of a recipe is worth: variants of it, one change each, with one equal schedule.

    python -m benchmarks.ablations list RECIPE                       # the names of its variants
    python -m benchmarks.ablations run RECIPE --data DIR --epochs 30 # again after an interrupt
    python -m benchmarks.ablations page                              # ablations.md and .json

``run`` trains the teachers once, then one Junior after the other, and keeps a record of each in
``benchmarks/records/ablations/``; what has its record is not trained again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.ablation_variants import Variant, variants_of
from benchmarks.accuracy import record_of
from benchmarks.accuracy_page import Record
from benchmarks.record_files import read_records, write_json
from mulde.errors import ConfigError
from mulde.graph.graph import Graph, read_folder
from mulde.storage.printable import markdown
from training.progress import TrainingReport
from training.recipe import Recipe
from training.recipe_file import read_recipe
from training.train import pick_device, stages, train_side_by_side, train_stage

HERE = Path(__file__).parent
RECORDS = HERE / "records" / "ablations"
PREAMBLE = """# Ablations

Each row changes one thing of the recipe above it and trains the Junior anew, with the same
schedule and seed; teachers are the same. All figures are of the scorer alone, with self-loops and
without relation priors. Choices are made by valid; test was read once for each row, and stands
here to be compared with the same table elsewhere. One seed each, so differences of a few
thousandths are noise. Seconds are the Junior's own loop; machines may have been shared with other
work. Written
by `python -m benchmarks.ablations page` from `benchmarks/records/ablations/`; not to be edited.
"""

app = typer.Typer(add_completion=False, no_args_is_help=True)
RecipeFile = Annotated[Path, typer.Argument(help="A recipe with teachers.")]
Epochs = Annotated[int | None, typer.Option(help="Of every Junior; default: the recipe's.")]


@app.command(name="list")
def list_variants(recipe: RecipeFile, epochs: Epochs = None) -> None:
    """Print the variants of a recipe."""
    for each in variants_of(_plain(recipe), epochs):
        typer.echo(f"{each.name:28} {each.title}")


@app.command()
def run(
    recipe: RecipeFile,
    data: Annotated[Path, typer.Option(help="The graph's folder.")],
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs/ablations"),
    teachers: Annotated[
        Path | None, typer.Option(help="Where teachers are kept; default: OUT/teachers.")
    ] = None,
    epochs: Epochs = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A variant's name; may be given again; default: all.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Teachers trained side by side.")] = 1,
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
) -> None:
    """Train the variants that have no record yet, and keep their records."""
    chosen = _chosen(variants_of(_plain(recipe), epochs), only or [])
    graph, place, teacher_runs = (
        read_folder(data),
        pick_device(device),
        teachers or out / "teachers",
    )
    with TrainingReport(Console(stderr=True)) as report:
        for base, each in chosen:
            path = records / f"{base.name}-{base.digest[:8]}-{each.name}.json"
            if _is_recorded(path, each, graph):
                typer.echo(f"{each.name}: has its record")
                continue
            folder = out / f"{base.name}-{base.digest[:8]}" / each.name
            *teaching, junior, _ = stages(each.recipe, folder, teacher_runs)
            if teaching:
                train_side_by_side(teaching, each.recipe, graph, place, jobs, report)
            train_stage(junior, each.recipe, graph, place, report)
            record = record_of(junior.folder, graph, each.recipe, teacher_runs)
            _keep(path, base, each, graph, record)
            typer.echo(f"{each.name}: valid MRR {record.valid['mrr']:.4f}")


def _plain(recipe: Path) -> Recipe:
    """A recipe as far as it is about training: what is served besides would blur the rows."""
    return replace(read_recipe(recipe), self_loops_below=0.0, relation_priors=0)


def _chosen(variants: list[Variant], only: list[str]) -> list[tuple[Recipe, Variant]]:
    """The wanted variants, each with the recipe that it varies."""
    names = [each.name for each in variants]
    for name in only:
        if name not in names:
            raise ConfigError("--only", f"one of {', '.join(names)}", name)
    base = variants[0].recipe
    if not base.teachers:
        raise ConfigError("RECIPE: teachers", "at least one, since all variants are about them", [])
    return [(base, each) for each in variants if not only or each.name in only]


def _is_recorded(path: Path, each: Variant, graph: Graph) -> bool:
    if not path.exists():
        return False
    kept = json.loads(path.read_text(encoding="utf-8"))
    same = kept["run"]["recipe_sha256"] == each.recipe.digest
    return bool(same and kept["graph_sha256"] == graph.digest)


def _keep(path: Path, base: Recipe, each: Variant, graph: Graph, record: Record) -> None:
    kept = {
        "base_sha256": base.digest,
        "graph_sha256": graph.digest,
        "variant": each.name,
        "title": each.title,
        "changes": dict(each.changes),
        "run": asdict(record),
    }
    write_json(path, kept)


@app.command()
def page(
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS,
    into: Annotated[Path, typer.Option(help="The page's folder.")] = HERE,
) -> None:
    """Write the tables and the JSON."""
    kept = read_records(records)
    write_json(into / "ablations.json", kept)
    parts = [PREAMBLE]
    for base in sorted({(one["run"]["recipe"], one["base_sha256"]) for one in kept}):
        mine = [one for one in kept if (one["run"]["recipe"], one["base_sha256"]) == base]
        parts += [f"## {markdown(base[0])} ({base[1][:8]})\n", _table(mine)]
    (into / "ablations.md").write_text("\n".join(parts), encoding="utf-8")
    typer.echo(f"{len(kept)} runs in {into / 'ablations.md'}")


def _table(kept: list[dict[str, Any]]) -> str:
    """A row for each variant, best first below the recipe itself."""
    base = next((one["run"] for one in kept if one["variant"] == "base"), None)
    names = ["variant", "best epoch", "s", "valid MRR", "±", "test MRR", "±", "H@1", "H@3", "H@10"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    kept = sorted(kept, key=lambda one: (one["variant"] != "base", -one["run"]["valid"]["mrr"]))
    for one in kept:
        run, test = one["run"], one["run"]["test"]
        cells = [
            one["title"],
            f"{run['best_epoch']} of {run['epochs']}",
            f"{run['seconds']:,.0f}",
            f"{run['valid']['mrr']:.4f}",
            _difference(run, base, "valid"),
            f"{test['mrr']:.4f}",
            _difference(run, base, "test"),
            *(f"{value:.4f}" for name, value in test.items() if name != "mrr"),
        ]
        lines.append("| " + " | ".join(map(markdown, cells)) + " |")
    return "\n".join(lines) + "\n"


def _difference(run: dict[str, Any], base: dict[str, Any] | None, split: str) -> str:
    """Of MRR to the recipe itself, which has none, and is unknown until it has been run."""
    if base is None or run is base:
        return ""
    return f"{run[split]['mrr'] - base[split]['mrr']:+.4f}"


if __name__ == "__main__":
    app()
