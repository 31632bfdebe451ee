"""``mulde data synth``: a graph of any size, or a bundle of it, made up from a seed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mulde.bundle.entity_table import Precision
from mulde.errors import ConfigError
from mulde.storage.atomic import new_folder, publish
from mulde.storage.printable import printable
from mulde.synthetic import SyntheticGraph

_PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32", "int8")


def synth(
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    *,
    entities: Annotated[int, typer.Option(min=64, help="How many.")],
    relations: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    facts_per_entity: Annotated[float, typer.Option(help="Mean number of facts of a head.")] = 2.0,
    dimension: Annotated[int, typer.Option(min=8, help="Of the points; a multiple of 8.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives another graph.")] = 0,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Make a bundle to serve, not a graph to train on.")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="With --bundle: of the table: fp16, fp32 or int8.")
    ] = "fp16",
    cells: Annotated[
        bool, typer.Option("--cells", help="With --bundle: search a few cells of the table.")
    ] = False,
    known: Annotated[bool, typer.Option(help="With --bundle: with the facts.")] = True,
    search: Annotated[bool, typer.Option(help="With --bundle: with search of names.")] = False,
) -> None:
    """Make up a large graph with hubs and clusters, to try things at a size of your own.

    The same options give the same graph. With --bundle its points become the model, so that it can
    be served without training (this needs mulde[training]).
    """
    graph = _graph(entities, relations, dimension, facts_per_entity, seed)
    if not bundle and (search or cells or not known or precision != "fp16"):
        raise typer.BadParameter("--precision, --cells, --no-known and --search go with --bundle")
    console = Console(stderr=True)
    if bundle:
        from training.synthetic import write_synthetic_bundle

        write_synthetic_bundle(
            graph,
            out,
            precision=_precision(precision),
            cells=cells,
            known=known,
            search=search,
            report=lambda step: console.print(f"writing {step}", highlight=False),
        )
        console.print(printable(f"bundle is in {out}"), highlight=False, markup=False)
        return
    if out.exists():
        raise ConfigError("OUT", "a folder that is not there yet", str(out))
    with new_folder(out) as folder:
        counts = graph.write_text(folder)
        publish(folder, out, overwrite=False)
    shown = ", ".join(f"{count:,} facts in {name}" for name, count in counts.items())
    console.print(printable(f"{shown}: graph is in {out}"), highlight=False, markup=False)


def _precision(text: str) -> Precision:
    """One that a table can be streamed in.

    Raises:
        ConfigError: for another one.
    """
    for one in _PRECISIONS:
        if text == one:
            return one
    raise ConfigError("--precision", ", ".join(_PRECISIONS), text)


def _graph(
    entities: int, relations: int, dimension: int, facts_per_entity: float, seed: int
) -> SyntheticGraph:
    """The graph.

    Raises:
        ConfigError: naming the option that cannot be.
    """
    try:
        return SyntheticGraph(entities, relations, dimension, facts_per_entity, seed)
    except ValueError as error:
        name, _, problem = str(error).partition(": ")
        assert name in {field.name for field in fields(SyntheticGraph)}
        expected, _, found = problem.removeprefix("expected ").partition(", found ")
        raise ConfigError(f"--{name.replace('_', '-')}", expected, found) from None
