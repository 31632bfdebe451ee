"""Which precision and which index a bundle takes, when a user names what it may cost.

The finest precision that fits comes first, for it decides accuracy; then the kinds of index are
tried on the machine at hand, and the quickest or the smallest that satisfies is taken.

Shape letters: E entities, W width.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import move
from typing import Literal

from mulde.bundle.files import CANDIDATES, MEASURES
from mulde.bundle.manifest import Index, Trial, describe
from mulde.bundle.table.entity_table import NUMBER_BITS, Precision
from mulde.errors import BundleError, ConfigError
from serving.engine.engine import Engine
from serving.index_benchmark import TOP, Bench, candidates_to_try, sample_queries
from training.export.table.codes import write_cells

Target = Literal["latency", "memory"]
TARGETS: tuple[Target, ...] = ("latency", "memory")

MEGABYTE = 1_000_000
_AUTOMATIC: tuple[Precision, ...] = ("fp16", "int8", "int4")
_FIRST_SHARE = 160
_FETCHED = 10
_CARD_BYTES = 20_000
"""For the files that are written last: manifest, card, calibration."""


@dataclass(frozen=True)
class Wish:
    """What a bundle may cost.

    Attributes:
        budget_mb: most megabytes (10^6 bytes) of the whole bundle; None for any.
        min_recall: least share of the exhaustive top 10 that is found without asking for exactness.
        target: take the quickest for a single query, or the smallest on disk and in memory.
    """

    budget_mb: float | None = None
    min_recall: float = 0.99
    target: Target = "latency"

    def __post_init__(self) -> None:
        """Refuse wishes without meaning.

        Raises:
            ConfigError: naming the flag.
        """
        if self.budget_mb is not None and not self.budget_mb > 0:
            raise ConfigError("--budget-mb", "megabytes above 0", self.budget_mb)
        if not 0 <= self.min_recall <= 1:
            raise ConfigError("--min-recall", "a share from 0 to 1", self.min_recall)

    @property
    def budget_bytes(self) -> float:
        """Infinity where there is no budget."""
        return float("inf") if self.budget_mb is None else self.budget_mb * MEGABYTE

    def allows(self, trial: Trial, others: int) -> bool:
        """Whether a kind fits beside ``others`` bytes and finds enough."""
        return others + trial.bytes <= self.budget_bytes and trial.recall >= self.min_recall

    def cost(self, trial: Trial) -> tuple[float, float]:
        """What the target makes least; the other thing decides between equals."""
        size = float(trial.bytes + trial.private_bytes)
        return (trial.single_us, size) if self.target == "latency" else (size, trial.single_us)


def wish_of(budget_mb: float | None, min_recall: float | None, target: str | None) -> Wish | None:
    """The wish that flags make, None without any.

    Raises:
        ConfigError: naming the flag.
    """
    if budget_mb is None and min_recall is None and target is None:
        return None
    for known in TARGETS:
        if target in (known, None):
            return Wish(budget_mb, 0.99 if min_recall is None else min_recall, known)
    raise ConfigError("--target", " or ".join(TARGETS), target)


def choose_precision(wish: Wish, out: Path, others: int, entities: int, width: int) -> Precision:
    """The finest of fp16, int8 and int4 whose table fits beside ``others`` bytes.

    Raises:
        BundleError: if none fits, with what the smallest would take.
    """
    for precision in _AUTOMATIC:
        needed = others + _CARD_BYTES + entities * width * NUMBER_BITS[precision] // 8
        if needed <= wish.budget_bytes:
            return precision
    smallest = f"{needed / MEGABYTE:.2f} MB with a table in {precision}"
    problem = f"not published; expected at most {wish.budget_mb} MB, found {smallest}"
    raise BundleError(out, problem)


def choose_index(
    wish: Wish,
    out: Path,
    folder: Path,
    engine: Engine,
    bench: Bench,
    report: Callable[[str], None] = lambda step: None,
) -> Index:
    """Try the kinds; leave the codes of the best, if it has any, in the bundle's folder.

    Args:
        wish: what it may cost.
        out: the bundle's name, for messages.
        folder: of the draft; everything but codes, manifest and card is in it.
        engine: opened on the draft.
        bench: over this engine.
        report: is told what is being done.

    Raises:
        BundleError: if no kind satisfies, with the table of what each gave.
    """
    sizes = sum(path.stat().st_size for path in folder.iterdir() if path.name != CANDIDATES)
    others = sizes + _CARD_BYTES - engine.loaded.table.path.stat().st_size
    tried: list[tuple[Trial, Index, Path]] = []
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for number, index in enumerate(candidates_to_try(engine.num_entities)):
            report(f"trying an index of kind {index.kind}")
            codes = Path(scratch) / str(number)
            if index.kind == "ivf":
                write_cells(codes, engine.loaded.table, engine.loaded.column_weights, index.cells)
            tried.append((bench.trial(index, codes), index, codes))
        trials = tuple(trial for trial, _, _ in tried)
        allowed = [one for one in tried if wish.allows(one[0], others)]
        if not allowed:
            raise BundleError(out, _refusal(wish, trials, others))
        _, index, codes = min(allowed, key=lambda one: wish.cost(one[0]))
        if codes.exists():
            move(codes, folder / CANDIDATES)
    return replace(index, trials=trials)


def write_cell_index(
    folder: Path, report: Callable[[str], None] = lambda step: None, least: float = 0.99
) -> Index:
    """Cut the table of a sealed draft into cells, and search as few of them as find enough.

    Writes the cells and what was measured of them, so that the bundle opens without reading its
    table again.

    Args:
        folder: of the draft.
        report: is told what is being done.
        least: share of the exhaustive top 10 that must be found.

    Returns:
        The index for the manifest.
    """
    engine, codes = Engine.open(folder, threads=os.cpu_count() or 1), folder / CANDIDATES
    cells = large_cells(engine.num_entities)
    report(f"{cells} cells")
    write_cells(codes, engine.loaded.table, engine.loaded.column_weights, cells)
    report("measures")
    measures = engine.loaded.measures(codes)
    measures.write(folder / MEASURES)
    report("recall")
    bench = Bench(engine, sample_queries(engine))
    probes = max(1, cells // _FIRST_SHARE)
    while True:
        index = Index("ivf", cells=cells, probes=probes, fetched=_FETCHED)
        recall = bench.recall(engine.loaded.search_by(index, codes, measures))
        report(f"{probes} of {cells} cells find {recall:.4f} of the best {TOP}")
        if recall >= least or probes == cells:
            return index
        probes = min(cells, -(-probes * 5 // 4))


def large_cells(entities: int) -> int:
    """How many cells a large table is cut into: rows of a cell and cells are about as many."""
    return int(min(max(1, entities // 8), max(4, 2 * entities**0.5)))


def _refusal(wish: Wish, trials: tuple[Trial, ...], others: int) -> str:
    budget = "any size" if wish.budget_mb is None else f"at most {wish.budget_mb} MB"
    lines = [
        f"not published; no index has {budget} and a recall of at least {wish.min_recall}:",
        *(
            f"  {describe(trial)}: {(others + trial.bytes) / MEGABYTE:.2f} MB, "
            f"recall {trial.recall:.4f}, {trial.single_us:.0f} us"
            for trial in trials
        ),
    ]
    return "\n".join(lines)
