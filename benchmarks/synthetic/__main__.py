"""Generate a graph, or a bundle of one: ``python -m benchmarks.synthetic OUT --entities N``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.synthetic.graph import SyntheticGraph
from mulde.storage.atomic import new_folder, publish

app = typer.Typer(add_completion=False)


class TablePrecision(StrEnum):
    """Precisions of a table that is written in chunks."""

    FP16 = "fp16"
    FP32 = "fp32"
    INT8 = "int8"


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(help="The folder to make.", exists=False)],
    *,
    entities: Annotated[int, typer.Option(min=64, help="How many.")],
    relations: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    facts_per_entity: Annotated[float, typer.Option(help="Mean number of facts of a head.")] = 2.0,
    dimension: Annotated[int, typer.Option(min=8, help="Of the points; a multiple of 8.")] = 32,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    bundle: Annotated[bool, typer.Option("--bundle", help="A bundle, not a graph.")] = False,
    precision: Annotated[TablePrecision, typer.Option(help="With --bundle.")] = TablePrecision.FP16,
    cells: Annotated[bool, typer.Option("--cells", help="With --bundle: an IVF index.")] = False,
    known: Annotated[bool, typer.Option(help="With --bundle: with the facts.")] = True,
    search: Annotated[bool, typer.Option(help="With --bundle: with label search.")] = False,
) -> None:
    """Generate a graph with hubs and clusters; the same options give the same graph."""
    try:
        graph = SyntheticGraph(entities, relations, dimension, facts_per_entity, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if bundle:
        from benchmarks.synthetic.bundle import write_synthetic_bundle

        write_synthetic_bundle(
            graph,
            out,
            precision=precision.value,
            cells=cells,
            known=known,
            search=search,
            report=lambda step: typer.echo(f"writing {step}", err=True),
        )
        return
    with new_folder(out) as folder:
        counts = graph.write_text(folder)
        publish(folder, out, overwrite=False)
    typer.echo(", ".join(f"{count:,} facts in {name}" for name, count in counts.items()), err=True)


if __name__ == "__main__":
    app()
