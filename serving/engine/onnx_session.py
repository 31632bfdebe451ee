"""Open ONNX Runtime sessions; try a graph of a bundle in bounded memory and time first.

A few hundred bytes of graph can ask for any amount of memory, by repeating or multiplying what they
hold. ``check_graph`` cannot see that without the arithmetic of every operator; a run shows it, if
its memory is bounded. What passes ``try_graph`` with the largest batch takes no more later: nothing
is computed when the graph is loaded, and batches are never larger.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime as ort

from mulde.errors import BundleError, shorten

MOST_BYTES = 1 << 29
"""Memory of one run, weights included."""

LONGEST_S = 20.0
"""Time of one run; looked at between two operators."""

_COMPUTES_WHEN_LOADED = ["ConstantFolding"]
"""Left out: it saves nothing here, and its memory cannot be bounded (``try_graph``)."""
_CPU = ["CPUExecutionProvider"]
_MESSAGE = 300
_SOURCE = re.compile(r"/onnxruntime_src/\S+ [^()]*\([^()]*\) ")
_FATAL = 4


def session_options(threads: int, *, low_memory: bool = False) -> ort.SessionOptions:
    """Return how the server runs graphs: few threads, none of them spinning, no warnings.

    With ``low_memory``, what a run takes is given back when it ends.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if low_memory:
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return options


def open_session(path: Path, threads: int, *, low_memory: bool) -> ort.InferenceSession:
    """Open a graph of a bundle.

    Raises:
        BundleError: if ONNX Runtime refuses it.
    """
    try:
        return new_session(str(path), threads, low_memory=low_memory)
    except Exception as error:  # ONNX Runtime raises a family of types without a public root
        raise BundleError(path, f"ONNX Runtime refuses it: {reason(error)}") from error


def new_session(
    model: bytes | str, threads: int, *, low_memory: bool = False
) -> ort.InferenceSession:
    """Open a serialised model, or a file; raises what ONNX Runtime raises."""
    return ort.InferenceSession(
        model,
        session_options(threads, low_memory=low_memory),
        providers=_CPU,
        disabled_optimizers=_COMPUTES_WHEN_LOADED,
        enable_fallback=0,  # a second try, which prints to stdout
    )


def try_graph(path: Path, feed: Mapping[str, Any]) -> None:
    """Run a graph once, operator by operator as it is written.

    Args:
        path: an ONNX file that ``check_graph`` accepts.
        feed: its inputs, of the largest batch.

    Raises:
        BundleError: if it fails, wants more memory than ``MOST_BYTES`` or takes too long.
    """
    _bound_memory()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.use_env_allocators", "1")
    run = ort.RunOptions()
    run.log_severity_level = _FATAL
    run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    try:
        session = ort.InferenceSession(str(path), options, providers=_CPU, enable_fallback=0)
        with _time_limit(run):
            session.run(None, dict(feed), run)
    except Exception as error:  # as above
        raise BundleError(path, f"ONNX Runtime refuses it: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return ONNX Runtime's message without its source files; shortened, for it may quote data."""
    text = _SOURCE.sub("", " ".join(str(error).split()))
    return shorten(text, _MESSAGE)


@contextmanager
def _time_limit(run: ort.RunOptions) -> Iterator[None]:
    """End a run that takes too long."""
    timer = threading.Timer(LONGEST_S, lambda: setattr(run, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@cache
def _bound_memory() -> None:
    """Limit the process's shared allocator, which ``try_graph`` alone uses."""
    kind, use = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
    limits = {"max_mem": MOST_BYTES, "arena_extend_strategy": 1}
    configured = ort.OrtArenaCfg({**limits, "initial_chunk_size_bytes": 1 << 20})
    ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu", kind, 0, use), configured)
