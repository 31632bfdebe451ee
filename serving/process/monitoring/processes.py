"""Metrics of several processes as one, and what a scrape reads.

Each worker writes its values into files of one folder (``metrics.py``); here they are added up, and
those of dead workers are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector


class MemoryCollector:
    """Memory of some processes, as the system counts it: what is private, and what is shared."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        """Bytes that are resident, by kind; shared pages count once for each process."""
        family = GaugeMetricFamily(
            "mulde_memory_bytes",
            "Resident memory of the serving processes added up, private or shared.",
            labels=["kind"],
        )
        totals = {"private": 0, "shared": 0}
        for pid in self._pids():
            for kind, size in resident(pid).items():
                totals[kind] += size
        for kind, size in totals.items():
            family.add_metric([kind], size)
        yield family


def resident(pid: int) -> dict[str, int]:
    """Private and shared resident bytes of a process; zeros where the system does not tell."""
    totals = {"private": 0, "shared": 0}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    except OSError:
        return totals
    for line in lines:
        name, size, *_ = line.split()
        kind = name.partition("_")[0].lower()
        if name.endswith(("_Clean:", "_Dirty:")) and kind in totals:
            totals[kind] += int(size) * 1024
    return totals


def exposition(registry: CollectorRegistry) -> bytes:
    """The text that Prometheus reads."""
    text: bytes = generate_latest(registry)
    return text


def shared_registry(folder: Path, pids: Callable[[], Sequence[int]]) -> CollectorRegistry:
    """A registry that adds up what all processes wrote into ``folder``."""
    registry = CollectorRegistry()
    registry.register(MemoryCollector(pids))
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return registry


def merge_dead_process(pid: int, folder: Path) -> None:
    """Add what a dead process counted to the files of process 0, and remove its own files.

    What it measured of itself, such as calls in flight, is dropped.
    """
    for path in folder.glob(f"*_{pid}.db"):
        kind = path.name.partition("_")[0]
        if kind in ("counter", "histogram"):
            _add_values(path, folder / f"{kind}_0.db")
        path.unlink()


def _add_values(source: Path, target: Path) -> None:
    values = MmapedDict(str(target))  # type: ignore[no-untyped-call]
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(source)):  # type: ignore[no-untyped-call]
            former, _ = values.read_value(key)  # type: ignore[no-untyped-call]
            values.write_value(key, former + value, timestamp)  # type: ignore[no-untyped-call]
    finally:
        values.close()  # type: ignore[no-untyped-call]
