"""Train the paper's and the best recipes on a GPU within minutes, and keep a small record.

    python -m benchmarks.gpu_check [--data DIR] [--minutes 9]      # make gpu-check

Each recipe gets an equal part of the time. One epoch of each of its models is timed first; where
the whole schedule does not fit, all epochs are shortened by the same factor, and the record says
so. It writes ``benchmarks/records/gpu/NAME.json``: seconds, queries a second, share of device time
in matrix products, peak memory, and valid MRR beside that of the committed record of a CPU.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from torch.profiler import ProfilerActivity, profile

from benchmarks.record_files import read_records, write_json
from mulde.errors import ConfigError
from mulde.graph.graph import Graph, read_folder
from training.hardware import describe_machine
from training.loop import Progress
from training.recipe import Recipe, decisive
from training.recipe_file import read_recipe, variant
from training.train import Stage, read_record, stages, train_stage

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "benchmarks" / "records"
RECIPES = [
    ROOT / "models" / "recipes" / family / f"{graph}-32.toml"
    for graph in ("wn18rr", "fb15k-237")
    for family in ("best", "paper")
]
PRODUCTS = ("gemm", "cutlass", "cublas", "matmul")
"""Parts of the names of kernels that multiply matrices."""
_RESERVE = 0.15
"""Share of the time for validations and what is not timed."""


@dataclass(frozen=True)
class Timed:
    """One epoch of a model: its seconds, and the share of device time in matrix products."""

    seconds: float
    products: float


def main(
    data: Annotated[Path, typer.Option(help="Folder of the graphs' folders.")] = ROOT / "data",
    minutes: Annotated[float, typer.Option(min=0.5, help="For all recipes together.")] = 9.0,
    device: Annotated[str, typer.Option(help="cuda, or cpu to try this out.")] = "cuda",
    records: Annotated[Path, typer.Option(help="Where records are kept.")] = RECORDS / "gpu",
) -> None:
    """Train the four recipes and keep a record of each."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device", "a GPU of this machine", "none")
    began = time.perf_counter()
    for number, path in enumerate(RECIPES):
        left = 60 * minutes - (time.perf_counter() - began)
        recipe = read_recipe(path)
        graph = read_folder(data / recipe.data)
        found = check(recipe, graph, torch.device(device), left / (len(RECIPES) - number))
        write_json(records / f"{recipe.name}.json", found)
        junior = found["models"][-1]
        typer.echo(
            f"{recipe.name}: valid MRR {junior['mrr']:.4f} after {junior['epochs']} epochs, "
            f"{junior['queries_per_s']:,.0f} queries/s, {found['peak_bytes'] / 2**20:,.0f} MiB"
        )


def check(recipe: Recipe, graph: Graph, device: torch.device, seconds: float) -> dict[str, Any]:
    """Train a recipe's models within a time, and return what it took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        once = shortened(recipe, 0.0)
        timed = [
            one_epoch(stage, once, graph, device)
            for stage in stages(once, Path(folder) / "once")[:-1]
        ]
        planned = stages(recipe, Path(folder))[:-1]
        whole = sum(
            stage.training.epochs * each.seconds for stage, each in zip(planned, timed, strict=True)
        )
        left = seconds - (time.perf_counter() - began)
        factor = min(1.0, max(0.0, left * (1 - _RESERVE) / whole))
        short = shortened(recipe, factor)
        models = [
            trained(stage, short, graph, device, each)
            for stage, each in zip(stages(short, Path(folder) / "run")[:-1], timed, strict=True)
        ]
    return {
        "graph": graph.name,
        "recipe": recipe.name,
        "recipe_sha256": recipe.digest,
        "schedule": factor,
        "machine": describe_machine(device),
        "torch": torch.__version__,
        "models": models,
        "cpu_valid_mrr": cpu_mrr(recipe),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
    }


def shortened(recipe: Recipe, factor: float) -> Recipe:
    """Return the recipe with all epochs multiplied by ``factor``, validated at the end alone."""
    changes: dict[str, Any] = {}
    ask = recipe.distillation.ask_every or 1
    for key in ("junior_training", "teacher_training"):
        training = getattr(recipe, key)
        if training is not None:
            whole = ask if key == "junior_training" and factor else 1
            epochs = max(whole, int(training.epochs * factor) // whole * whole)
            changes |= {f"{key}.epochs": epochs, f"{key}.validate_every": epochs}
    if not factor:
        changes["distillation.ask_every"] = min(recipe.distillation.ask_every, 1)
    changes["teachers"] = _shorter_teachers(recipe, factor)
    return variant(recipe, changes, "benchmarks/gpu_check.py")


def _shorter_teachers(recipe: Recipe, factor: float) -> list[dict[str, Any]]:
    """The teachers as plain values, those with a training of their own shortened too."""
    found = []
    for one in recipe.teachers:
        values = decisive(one)
        if one.training is not None:
            epochs = max(1, int(one.training.epochs * factor))
            values["training"] |= {"epochs": epochs, "validate_every": epochs}
        found.append(values)
    return found


def one_epoch(stage: Stage, recipe: Recipe, graph: Graph, device: torch.device) -> Timed:
    """Train one epoch under the profiler."""
    seconds: list[float] = []
    kinds = [ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU]
    with profile(activities=kinds) as watched:
        train_stage(stage, recipe, graph, device, lambda name, p: seconds.append(p.seconds))
    spent = {event.key: event.self_device_time_total for event in watched.key_averages()}
    total = sum(spent.values())
    products = sum(t for key, t in spent.items() if any(part in key for part in PRODUCTS))
    return Timed(seconds[-1], products / total if total else 0.0)


def trained(
    stage: Stage, recipe: Recipe, graph: Graph, device: torch.device, timed: Timed
) -> dict[str, Any]:
    """Train a model, and return its figures."""
    seen: list[Progress] = []
    train_stage(stage, recipe, graph, device, lambda name, progress: seen.append(progress))
    last = seen[-1]
    return {
        "name": stage.name,
        "epochs": last.epoch,
        "seconds": last.seconds,
        "queries_per_s": last.queries * last.epoch / last.seconds,
        "matrix_products": timed.products,
        "mrr": read_record(stage.folder)[-1]["mrr"],
    }


def cpu_mrr(recipe: Recipe) -> float | None:
    """Mean valid MRR of the committed records of this recipe's Junior; None without any."""
    kept = [
        one["curve"][-1][1]
        for one in read_records(RECORDS)
        if one["recipe"] == recipe.name and one["stage"] == "junior"
    ]
    return mean(kept) if kept else None


if __name__ == "__main__":
    typer.run(main)
