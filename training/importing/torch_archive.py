"""Read the tensors of a foreign torch file as data: nothing in it is ever called.

A file of ``torch.save`` is a zip archive with a pickle and raw tensor bytes. A whole model, as
PyKEEN saves it, names classes and functions that unpickling would import and call. This reader
interprets the pickle's opcodes (``pickletools``, PEP 307 and 3154) over plain values instead: a
name stays a ``Name``, a call stays a ``PickledCall``, and only tensors are built, from their bytes.
``torch.load(weights_only=True)`` follows the same idea, but knows no names but its own.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mulde.errors import CheckpointError

_MOST_OPCODES = 5_000_000
_MOST_PICKLE_BYTES = 64 << 20
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names: never imported."""

    path: str


@dataclass
class PickledCall:
    """An object that unpickling would make by a call: never made.

    Attributes:
        name: of the class or function.
        args: what it would be called with.
        state: what would become its attributes; a dict for modules.
        items: what would be set by key.
    """

    name: str
    args: Any
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """Bytes of a tensor in the archive."""

    dtype: torch.dtype
    key: str


def read_archive(path: Path) -> Any:
    """Return the content of a torch file: plain values, tensors, and ``PickledCall`` for the rest.

    Raises:
        CheckpointError: if it is no such archive, is damaged or uses opcodes that are not known.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (root,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            if archive.getinfo(root).file_size > _MOST_PICKLE_BYTES:
                raise CheckpointError(
                    path, f"expected a pickle of at most {_MOST_PICKLE_BYTES} bytes"
                )
            folder = root.removesuffix("data.pkl")
            return _Reader(path, archive, folder).read(archive.read(root))
    except (zipfile.BadZipFile, ValueError, KeyError, IndexError, OSError, TypeError) as error:
        problem = f"expected a file of torch.save (a zip archive with data.pkl), found: {error}"
        raise CheckpointError(path, problem) from error


class _Reader:
    """A stack machine over the opcodes of one pickle."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, folder: str) -> None:
        self._path, self._archive, self._folder = path, archive, folder
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "MARK": lambda arg: self._marks.append(len(self._stack)),
            "EMPTY_DICT": lambda arg: self._stack.append({}),
            "EMPTY_LIST": lambda arg: self._stack.append([]),
            "EMPTY_SET": lambda arg: self._stack.append(set()),
            "EMPTY_TUPLE": lambda arg: self._stack.append(()),
            "NONE": lambda arg: self._stack.append(None),
            "NEWTRUE": lambda arg: self._stack.append(True),
            "NEWFALSE": lambda arg: self._stack.append(False),
            "TUPLE": lambda arg: self._stack.append(tuple(self._cut())),
            "TUPLE1": lambda arg: self._tuple(1),
            "TUPLE2": lambda arg: self._tuple(2),
            "TUPLE3": lambda arg: self._tuple(3),
            "LIST": lambda arg: self._stack.append(self._cut()),
            "DICT": lambda arg: self._stack.append(_pairs(self._cut())),
            "FROZENSET": lambda arg: self._stack.append(tuple(self._cut())),
            "MEMOIZE": lambda arg: self._remember(len(self._memo)),
            "GLOBAL": lambda arg: self._stack.append(Name(arg.replace(" ", "."))),
            "STACK_GLOBAL": lambda arg: self._name(),
            "REDUCE": lambda arg: self._call(),
            "NEWOBJ": lambda arg: self._call(),
            "NEWOBJ_EX": lambda arg: self._call_with_keywords(),
            "BUILD": lambda arg: self._build(),
            "APPEND": lambda arg: self._extend([self._stack.pop()]),
            "APPENDS": lambda arg: self._extend(self._cut()),
            "ADDITEMS": lambda arg: self._extend(self._cut()),
            "SETITEM": lambda arg: self._set([self._stack.pop(-2), self._stack.pop()]),
            "SETITEMS": lambda arg: self._set(self._cut()),
            "BINPERSID": lambda arg: self._stack.append(self._storage(self._stack.pop())),
            "POP": lambda arg: self._drop(),
            "POP_MARK": lambda arg: self._forget(),
            "DUP": lambda arg: self._stack.append(self._stack[-1]),
        }

    def read(self, data: bytes) -> Any:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(data)):
            if count > _MOST_OPCODES:
                raise CheckpointError(self._path, f"expected at most {_MOST_OPCODES} opcodes")
            self._step(opcode.name, arg)
        return self._stack.pop()

    def _step(self, name: str, arg: Any) -> None:
        if name in ("PROTO", "FRAME", "STOP"):
            return
        if name in ("BINGET", "LONG_BINGET", "GET"):
            self._stack.append(self._memo[int(arg)])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._remember(int(arg))
        elif name in self._steps:
            self._steps[name](arg)
        elif isinstance(arg, int | float | str | bytes | bytearray):
            self._stack.append(arg)
        else:
            raise CheckpointError(self._path, f"expected a known pickle opcode, found {name}")

    def _cut(self) -> list[Any]:
        mark = self._marks.pop()
        found, self._stack[mark:] = self._stack[mark:], []
        return found

    def _forget(self) -> None:
        self._cut()

    def _drop(self) -> None:
        self._stack.pop()

    def _tuple(self, count: int) -> None:
        found = tuple(self._stack[-count:])
        self._stack[-count:] = [found]

    def _remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _name(self) -> None:
        module, name = self._stack[-2:]
        self._stack[-2:] = [Name(f"{module}.{name}")]

    def _call(self) -> None:
        name, args = self._stack[-2:]
        path = name.path if isinstance(name, Name) else str(name)
        tensor = self._tensor(path, args)
        self._stack[-2:] = [PickledCall(path, args) if tensor is None else tensor]

    def _call_with_keywords(self) -> None:
        name, args, keywords = self._stack[-3:]
        self._stack[-3:] = [PickledCall(name.path, args, dict(keywords))]

    def _build(self) -> None:
        state = self._stack.pop()
        made = self._stack[-1]
        if isinstance(made, PickledCall):
            made.state = state

    def _extend(self, values: list[Any]) -> None:
        made = self._stack[-1]
        if isinstance(made, list):
            made.extend(values)

    def _set(self, values: list[Any]) -> None:
        made, pairs = self._stack[-1], _pairs(values)
        if isinstance(made, PickledCall):
            made.items.update(pairs)
        else:
            made.update(pairs)

    def _storage(self, reference: Any) -> Storage:
        kind, dtype, key = reference[:3]
        if kind != "storage" or not str(key).isdigit():
            raise ValueError(f"unknown reference {kind!r}")
        return Storage(_DTYPES[dtype.path.rpartition(".")[2]], str(key))

    def _tensor(self, name: str, args: Any) -> Tensor | None:
        """The tensor that a call stands for; None for any other call."""
        if name.endswith("._rebuild_parameter"):
            found: Tensor = args[0]
            return found
        if not name.endswith("._rebuild_tensor_v2"):
            return None
        storage, offset, size, stride = args[:4]
        data = bytearray(self._archive.read(f"{self._folder}data/{storage.key}"))
        flat = torch.frombuffer(data, dtype=storage.dtype) if data else torch.empty(0)
        return flat.as_strided(tuple(size), tuple(stride), int(offset)).clone()


def _pairs(values: list[Any]) -> dict[Any, Any]:
    """[key, value, key, value, ...] as a dict; a key that cannot be one is left out."""
    keys = (key if isinstance(key, str | int | tuple | bool) else id(key) for key in values[::2])
    return dict(zip(keys, values[1::2], strict=True))


def tensors_of(module: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) of a saved ``torch.nn.Module``, named as in its state dict."""
    if not isinstance(module, PickledCall) or not isinstance(module.state, dict):
        return
    for part in ("_parameters", "_buffers"):
        for name, value in _items(module.state.get(part)).items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
    for name, child in _items(module.state.get("_modules")).items():
        yield from tensors_of(child, f"{prefix}{name}.")


def _items(value: Any) -> dict[str, Any]:
    if isinstance(value, PickledCall):
        return value.items
    return value if isinstance(value, dict) else {}
