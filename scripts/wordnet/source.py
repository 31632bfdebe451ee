"""Where WordNet's files come from: a folder, or Debian's package wordnet-base."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60
_INSIDE = "usr/share/wordnet/"


@contextmanager
def dictionary_folder(source: Path) -> Iterator[Path]:
    """The folder with ``data.noun`` and its like; of a ``.deb``, a temporary copy.

    Raises:
        FileNotFoundError: if the source is neither, or has no ``data.noun``.
    """
    if source.suffix != ".deb":
        yield _checked(source, source)
        return
    with TemporaryDirectory() as folder:
        _unpack(source, Path(folder))
        yield _checked(Path(folder, _INSIDE), source)


def licence(folder: Path) -> str:
    """The licence that opens every data file, without its line numbers."""
    with (folder / "data.noun").open(encoding="utf-8") as file:
        numbered = [line for line in file if line.startswith("  ")]
    return "".join(line.strip().partition(" ")[2].rstrip() + "\n" for line in numbered)


def _checked(folder: Path, source: Path) -> Path:
    if not (folder / "data.noun").is_file():
        raise FileNotFoundError(f"{source}: expected WordNet's database, found no data.noun")
    return folder


def _unpack(package: Path, folder: Path) -> None:
    """Unpack the dictionary from a Debian package: an ar archive that holds data.tar.*."""
    with tarfile.open(fileobj=io.BytesIO(_ar_member(package, "data.tar"))) as archive:
        members = [member for member in archive if _INSIDE in member.name and _is_plain(member)]
        # Python 3.11 before 3.11.4 has no filters.
        safe: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, members, **safe)


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether a member is a file or folder that stays below the target."""
    parts = Path(member.name).parts
    return (member.isfile() or member.isdir()) and ".." not in parts and parts[:1] != ("/",)


def _ar_member(path: Path, prefix: str) -> bytes:
    """The content of the first member whose name begins so."""
    raw = path.read_bytes()
    if not raw.startswith(_AR_MAGIC):
        raise FileNotFoundError(f"{path}: expected a Debian package, found another kind of file")
    start = len(_AR_MAGIC)
    while start < len(raw):
        header = raw[start : start + _AR_HEADER_BYTES]
        name, size = header[:16].decode().rstrip(" /"), int(header[48:58])
        start += _AR_HEADER_BYTES
        if name.startswith(prefix):
            return raw[start : start + size]
        start += size + size % 2
    raise FileNotFoundError(f"{path}: expected a member {prefix}.*, found none")
