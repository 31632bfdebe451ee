"""The machine: its description, how many cores a training takes, and its type of products."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

GPU = "GPU"
"""What stands before the name of one."""

_SMALL = 1_000
"""Entities below which a training's products are too small for more than one thread."""

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Flags of x86 processors that multiply bfloat16 at a higher rate than fp32."""


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


def product_type(precision: str, device: torch.device) -> torch.dtype | None:
    """Return bfloat16 if it is asked for and ``device`` multiplies it faster, else None.

    The flags decide and not a measurement, so that two trainings on one machine are the same
    however busy it is. With avx512_bf16 and one thread, the cross entropy of 500 queries with
    14,541 entities takes .65 of the time of fp32 for 32 numbers an entity, .43 for 64 and .30 for
    512; it was not measured with amx_bf16 or on a GPU.
    """
    return torch.bfloat16 if precision == "bf16" and _has_bfloat16(device) else None


@cache
def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(_BFLOAT16_FLAGS & processor_flags())


def processor_flags() -> set[str]:
    """What /proc/cpuinfo says the first processor can do; nothing where there is no such file."""
    lines = _cpuinfo()
    flags = next((line for line in lines if line.startswith("flags")), ":")
    return set(flags.split(":", 1)[1].split())


def describe_machine(device: torch.device | None = None) -> str:
    """Processor and number of cores, in words for a card; and the GPU, if ``device`` is one."""
    cpu = platform.machine()
    models = [line for line in _cpuinfo() if line.startswith("model name")]
    if models:
        cpu = models[0].split(":", 1)[1].strip()
    gpu = (
        f", {GPU} {torch.cuda.get_device_name(device)}" if device and device.type == "cuda" else ""
    )
    return f"{cpu}, {os.cpu_count()} cores{gpu}"


def _cpuinfo() -> list[str]:
    information = Path("/proc/cpuinfo")
    return information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
