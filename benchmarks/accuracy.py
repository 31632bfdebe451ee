"""The table of every training run: recipe, seed, machine, seconds, valid and test figures.

    python -m benchmarks.accuracy add RUN/junior --data DIR    # reads the test split: once per run
    python -m benchmarks.accuracy page                         # make accuracy

``add`` keeps a run's own record in ``benchmarks/records/``; ``page`` writes ``accuracy.md``,
``accuracy.json`` and the curves from those records alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import typer

mpl.use("svg")
from matplotlib import pyplot as plt

from benchmarks.keeping import read_records, write_json
from mulde.evaluation import RankingTask
from mulde.graph import Graph, read_graph
from mulde.plain import markdown, printable
from training.checkpoint import read_checkpoint
from training.evaluate import scores_of
from training.pipeline import load_scorer, read_record
from training.recipe import Recipe, read_recipe

HERE = Path(__file__).parent
RECORDS = HERE / "records"
PREAMBLE = """# Accuracy

Filtered ranking by train, valid and test; both directions, all triples, realistic ties. The
checkpoint of each run is the best by valid MRR; test was read once, when the run was added.
Seconds are those of the training loop, validations not included, up to the last epoch; a Junior's
do not include its teachers', which have rows of their own; where a machine was shared with other
work, they are upper bounds. What was tried besides is in docs/experiments.md. Written by
`make accuracy` from `benchmarks/records/`; not to be edited. Not tested on a GPU.
"""

app = typer.Typer(add_completion=False, no_args_is_help=True)


@dataclass(frozen=True)
class Record:
    """One run: what it was, what it cost, what came of it."""

    graph: str
    recipe: str
    recipe_sha256: str
    stage: str
    model: dict[str, Any]
    training: dict[str, Any]
    teachers: list[str]
    seed: int
    machine: str
    epochs: int
    best_epoch: int
    seconds: float
    queries_per_s: float
    valid: dict[str, float]
    test: dict[str, float]
    curve: list[tuple[float, float]]

    @property
    def name(self) -> str:
        """A file name that no other run has."""
        return f"{self.recipe}-{self.stage}-seed{self.seed}-{self.recipe_sha256[:8]}"


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="A finished run: RUN/junior, RUN/twin, teacher.")],
    data: Annotated[Path, typer.Option(help="The graph's folder.")],
    recipe: Annotated[Path | None, typer.Option(help="Default: RUN/recipe.toml.")] = None,
) -> None:
    """Rank test once and keep the run's record."""
    record = record_of(
        folder, read_graph(data), read_recipe(recipe or folder.parent / "recipe.toml")
    )
    path = RECORDS / f"{record.name}.json"
    write_json(path, asdict(record))
    typer.echo(f"{path}: test MRR {record.test['mrr']:.4f}")


def record_of(folder: Path, graph: Graph, recipe: Recipe) -> Record:
    """The record of a finished run; ranks the test split, so it is made once per run."""
    scorer, state = load_scorer(folder / "best.pt", graph)
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
        valid=state["valid"]["total"],
        test=RankingTask.of(graph, "test").quality(scores_of(scorer))["total"],
        curve=[(round(line["seconds"], 1), line["valid"]["total"]["mrr"]) for line in lines],
    )


@app.command()
def page() -> None:
    """Write the table, the JSON and the curves."""
    records = [Record(**kept) for kept in read_records(RECORDS)]
    records.sort(key=lambda r: (r.graph, r.recipe, r.stage, r.seed))
    write_json(HERE / "accuracy.json", [asdict(record) for record in records])
    parts = [PREAMBLE]
    for graph in sorted({record.graph for record in records}):
        mine = [record for record in records if record.graph == graph]
        _draw(graph, mine)
        parts += [f"## {markdown(graph)}\n", _table(mine), f"![valid MRR](accuracy-{graph}.svg)\n"]
    (HERE / "accuracy.md").write_text("\n".join(parts), encoding="utf-8")
    typer.echo(f"{len(records)} runs in {HERE / 'accuracy.md'}")


def _table(records: list[Record]) -> str:
    columns = "recipe,run,D,seed,epochs,s,queries/s,valid MRR,test MRR,H@1,H@3,H@10,machine"
    names = columns.split(",")
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for r in records:
        run = f"{r.stage} ({r.model['scorer']}, {r.model.get('score', 'distance')})"
        figures = [f"{r.valid['mrr']:.4f}", *(f"{value:.4f}" for value in r.test.values())]
        cells = [
            f"{r.recipe} {r.recipe_sha256[:8]}",
            run,
            str(r.model["dimension"]),
            str(r.seed),
            f"{r.best_epoch} of {r.epochs}",
            f"{r.seconds:,.0f}",
            f"{r.queries_per_s:,.0f}",
            *figures,
            r.machine,
        ]
        lines.append("| " + " | ".join(map(markdown, cells)) + " |")
    return "\n".join(lines) + "\n"


def _draw(graph: str, records: list[Record]) -> None:
    """Valid MRR against seconds of training, one line per run."""
    mpl.rcParams["svg.hashsalt"] = graph
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for record in records:
        seconds, mrr = zip(*record.curve, strict=True)
        label = printable(f"{record.recipe} {record.stage}")
        style = "-" if record.stage == "junior" else "--" if record.stage == "twin" else ":"
        axes.plot(seconds, mrr, style, label=label)
    axes.set(xlabel="seconds of training", ylabel="valid MRR", title=graph)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(HERE / f"accuracy-{graph}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    app()
