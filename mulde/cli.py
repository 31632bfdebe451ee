"""The command line: ``mulde COMMAND``. Each module of ``mulde.commands`` adds its commands."""

from __future__ import annotations

import sys

import typer

from mulde import __version__
from mulde.commands import data, serve, web
from mulde.commands.asking import bench, entity, explain, facts, models, neighbours, predict, query
from mulde.commands.bundles import calibrate, drift, evaluate, map, report, rules, shrink, vectors
from mulde.commands.learning import fit, imports, train, update
from mulde.commands.progress import say
from mulde.errors import MuldeError

app = typer.Typer(
    name="mulde",
    help="Link prediction small enough for the edge: train, export, serve and ask.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (
    data,
    fit,
    imports,
    train,
    update,
    evaluate,
    shrink,
    calibrate,
    map,
    drift,
    vectors,
    rules,
    report,
    bench,
    serve,
    web,
    query,
    neighbours,
    entity,
    explain,
    predict,
    models,
    facts,
):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mulde {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Link prediction small enough for the edge: train, export, serve and ask."""


def main() -> None:
    """Run a command; an error of mulde's own is one red sentence and exit status 1."""
    try:
        app()
    except MuldeError as error:
        say(f"error: {error}", "red")
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = _extra_that_brings(error.name or "")
        if extra is None:
            raise
        say(
            f"error: this command needs {error.name}, which 'pip install mulde[{extra}]' brings",
            "red",
        )
        sys.exit(1)


def _extra_that_brings(module: str) -> str | None:
    """The extra to install for a missing third-party module; None if mulde has none for it."""
    top = module.partition(".")[0]
    if top in {"torch", "onnx", "onnxscript", "tensorboard", "sklearn", "pydantic"}:
        return "training"
    if top in {"onnxruntime", "faiss", "structlog", "prometheus_client"}:
        return "serving"
    if top in {"pyarrow", "pyoxigraph", "httpx", "tenacity"}:
        return "graph"
    if top in {"starlette", "uvicorn", "orjson"}:
        return "web"
    if top == "ray":
        return "ray"
    return "client" if top in {"grpc", "google", "grpc_status"} else None


if __name__ == "__main__":
    main()
