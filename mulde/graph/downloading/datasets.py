"""Benchmark graphs from their public homes, each file with a pinned SHA-256 (``datasets.toml``)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from mulde.errors import ConfigError
from mulde.graph.downloading.download import (
    LONGEST_WAIT_S,
    RemoteFile,
    Report,
    download,
    new_client,
)

_MADE_HERE = {
    "wordnet-core": "this one lies in data/wordnet-core of the repository",
    "wordnet": "this one is made by python -m scripts.wordnet --full data/wordnet",
}


def catalogue() -> Mapping[str, tuple[RemoteFile, ...]]:
    """Name -> files of each graph that can be fetched."""
    table = tomllib.loads(
        files("mulde.graph.downloading").joinpath("datasets.toml").read_text("utf-8")
    )
    return {
        graph: tuple(
            RemoteFile(f"{entry['home']}/{name}", **pinned)
            for name, pinned in entry["files"].items()
        )
        for graph, entry in table.items()
    }


def fetch(
    name: str,
    into: Path,
    *,
    home: str | None = None,
    report: Report | None = None,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> list[Path]:
    """Download a graph's files; those that are there already are verified and kept.

    Args:
        name: a key of ``catalogue()``.
        into: the folder; made if needed.
        home: take the files from this address instead, such as a mirror; what they must be stays.
        report: told how far each file has come.
        longest_wait_s: between two attempts at a file.

    Returns:
        The files' paths.

    Raises:
        ConfigError: if there is no graph of that name, or the address is not one of the web.
        DatasetError: see ``download``.
    """
    known = catalogue()
    if name in _MADE_HERE:
        raise ConfigError("graph", f"one of {', '.join(known)}; {_MADE_HERE[name]}", name)
    if name not in known:
        raise ConfigError("graph", f"one of {', '.join(known)}", name)
    remotes = known[name] if home is None else _moved(known[name], home)
    told = report or (lambda name, done, total: None)
    with new_client() as client:
        return [download(client, remote, into, told, longest_wait_s) for remote in remotes]


def _moved(remotes: tuple[RemoteFile, ...], home: str) -> tuple[RemoteFile, ...]:
    if not home.startswith(("http://", "https://")):
        raise ConfigError("home", "an address that begins with http:// or https://", home)
    base = home.rstrip("/")
    return tuple(RemoteFile(f"{base}/{r.name}", r.size_bytes, r.sha256) for r in remotes)
