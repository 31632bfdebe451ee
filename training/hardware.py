"""The machine: its description in words, and how many of its cores a training takes."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

GPU = "GPU"
"""What stands before the name of one."""

_SMALL = 1_000
"""Entities below which a training's products are too small for more than one thread."""


@contextmanager
def threads_for(entities: int) -> Iterator[None]:
    """Train with one thread where a graph is small, else with torch's own number.

    Threads wait for each other after each small product. On a machine that other programs use too,
    ComplEx-512 on UMLS (135 entities) took seven times as long with two threads as with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if entities < _SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe_machine(device: torch.device | None = None) -> str:
    """Processor and number of cores, in words for a card; and the GPU, if ``device`` is one."""
    cpu = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(encoding="utf-8").splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = models[0] if models else cpu
    gpu = (
        f", {GPU} {torch.cuda.get_device_name(device)}" if device and device.type == "cuda" else ""
    )
    return f"{cpu}, {os.cpu_count()} cores{gpu}"
