"""The machine that something was measured on, in words."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

GPU = "GPU"
"""What stands before the name of one."""


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
