"""``mulde predict``: answers to a file of questions, or all of a graph's missing facts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mulde.storage.printable import printable


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(predict)


def predict(
    questions: Annotated[
        Path | None,
        typer.Argument(
            metavar="QUERIES", help="head, relation, tail, one of head and tail empty or ?."
        ),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Answers: .tsv, .csv (for curators), .nt (RDF) or .parquet; text also .gz.",
        ),
    ],
    bundle: Annotated[Path, typer.Option(help="The model's bundle folder.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Most answers to a query.")] = 10,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one for each core.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="All cores of this Ray cluster instead; auto: the one here."
        ),
    ] = None,
    include_known: Annotated[
        bool, typer.Option("--include-known", help="Keep known facts, and mark them.")
    ] = False,
    exact: Annotated[
        bool, typer.Option(help="Certify every answer, or take what is found first.")
    ] = True,
    skip_unknown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write queries with unknown names here and go on."),
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="No queries: find all unknown, probable facts.")
    ] = False,
    min_probability: Annotated[
        float, typer.Option(min=0, max=1, help="With --complete: least probability.")
    ] = 0.5,
    shard: Annotated[
        int, typer.Option(min=1, help="Queries at a time; an interrupt loses as many.")
    ] = 8192,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not go on with an interrupted run.")
    ] = False,
) -> None:
    """Answer queries in bulk, without a server.

    A run that was interrupted goes on where it stopped when it is started again; the result is the
    same, byte for byte. docs/how-to/predict-in-batch.md says what the columns are.
    """
    if complete == (questions is not None):
        raise typer.BadParameter("expected a file of queries, or --complete and no file")
    if complete and (include_known or skip_unknown is not None):
        raise typer.BadParameter("--complete goes with neither --include-known nor --skip-unknown")
    if ray is not None and workers is not None:
        raise typer.BadParameter("--ray takes all cores of the cluster; leave --workers out")
    from serving.batch import predict as batch
    from serving.batch.predictor import JobOptions
    from serving.batch.worker_pool import available_cores

    options = JobOptions(k, include_known, exact, skip_unknown is not None, min_probability, shard)
    output = batch.Output(out, skip_unknown, overwrite, restart)
    count = workers or available_cores()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
        bar = bars.add_task("queries", total=None)

        def report(done: int, total: int) -> None:
            bars.update(bar, completed=done, total=total)

        if questions is None:
            tally = batch.complete(bundle, output, options, workers=count, ray=ray, report=report)
        else:
            tally = batch.predict_file(
                questions, bundle, output, options, workers=count, ray=ray, report=report
            )
    sure = f"{tally.exact:,} with certainly the best answers"
    counts = f"{tally.questions:,} queries ({sure}), {tally.answers:,} answers"
    skipped = f", {tally.skipped:,} skipped" if skip_unknown is not None else ""
    told = printable(f"{counts}{skipped}: {out}")
    console.print(told, highlight=False, markup=False, soft_wrap=True)
