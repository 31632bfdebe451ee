"""Every error that mulde raises on purpose, in one tree.

::

    MuldeError
    ├── ConfigError            a recipe, option, environment variable or settings file is wrong
    ├── FileError              a file or folder cannot be used: names it and the problem
    │   ├── DatasetError       a graph on disk is wrong: names file, line and field
    │   ├── BundleError        a bundle is missing, damaged, or its files do not fit each other
    │   ├── CheckpointError    a training run cannot be resumed or read
    │   ├── JobError           a batch job cannot be run or resumed
    │   └── StoreError         the facts that came after the training cannot be read or written
    ├── TrainingDiverged       scores or losses are no longer finite
    ├── Unreachable            no server answers at that address
    ├── ServerError            the server failed, through no error of the request
    └── RequestError           the request cannot be answered
        ├── InvalidArgument    a field is outside its limits
        ├── UnknownName        no entity, relation or type has that name
        │   ├── UnknownEntity
        │   ├── UnknownRelation
        │   └── UnknownType
        ├── AmbiguousLabel     several entities have that label
        ├── UnknownModel       no such model or version is loaded
        ├── Unsupported        the model was exported without what the request needs
        ├── NotEnabled         the server was started without what the request needs
        ├── Overloaded         the server is at one of its limits
        ├── DeadlineExceeded   the deadline passed before the work began
        ├── ChangeTimedOut     a change of models took longer than its limit
        ├── Draining           the server is shutting down
        ├── Unauthenticated    no token, or an unknown one
        └── Forbidden          the token's role does not allow the call

A class takes facts and writes its own sentence: expected, found, where, and the next step where
there is one. ``serving/rpc`` has the only table from classes to status codes.
"""
# ruff: noqa: N818 - a name such as UnknownEntity says more than its suffix would.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class MuldeError(Exception):
    """Root of every error that mulde raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle attributes and sentence, so that an error crosses processes unchanged.

        By default an exception is rebuilt from its sentence, which few constructors here take.
        """
        return _revive, (type(self), self.args), self.__dict__


def _revive(kind: type[MuldeError], args: tuple[object, ...]) -> MuldeError:
    """An error without a call of its constructor."""
    return kind.__new__(kind, *args)


class ConfigError(MuldeError):
    """A recipe, option, environment variable or settings file is wrong."""

    def __init__(self, where: str, expected: str, found: object) -> None:
        self.where, self.expected, self.found = where, expected, found
        super().__init__(f"{where}: expected {expected}, found {shorten(found, 300)}")


class FileError(MuldeError):
    """A file or folder cannot be used."""

    def __init__(self, path: Path | str, problem: str) -> None:
        self.path, self.problem = Path(path), problem
        super().__init__(f"{path}: {problem}")


class DatasetError(FileError):
    """A graph on disk is wrong.

    Args:
        path: the file.
        problem: what was expected and what was found.
        line: number of the line, from 1; None for the whole file.
        field: "head", "relation" or "tail"; empty for the whole line.
    """

    def __init__(
        self, path: Path | str, problem: str, line: int | None = None, field: str = ""
    ) -> None:
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(where, f"{_place(field)}{problem}")
        self.path, self.problem, self.line, self.field = Path(path), problem, line, field


class BundleError(FileError):
    """A bundle is missing, damaged, or its files do not fit each other."""


class CheckpointError(FileError):
    """A training run cannot be resumed or read."""


class JobError(FileError):
    """A batch job cannot be run or resumed."""


class StoreError(FileError):
    """The facts that came after the training cannot be read or written."""


class TrainingDiverged(MuldeError):
    """A loss or score is no longer finite; the last good checkpoint is kept."""

    def __init__(self, epoch: int, what: str, kept: Path | None) -> None:
        self.epoch, self.what, self.kept = epoch, what, kept
        tail = f"; the last good state is in {kept}" if kept else ""
        super().__init__(f"epoch {epoch}: {what} is not finite{tail}")


class Unreachable(MuldeError):
    """No server answers at that address, or the connection broke."""

    def __init__(self, address: str, reason: str) -> None:
        self.address, self.reason = address, reason
        super().__init__(f"no answer from {address}: {reason}")


class ServerError(MuldeError):
    """The server failed, through no error of the request; its log explains the request id."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"the server failed with {code}: {message}")


class RequestError(MuldeError):
    """The request cannot be answered."""


class InvalidArgument(RequestError):
    """A field is outside its limits."""

    def __init__(self, field: str, expected: str, found: object) -> None:
        self.field, self.expected, self.found = field, expected, found
        super().__init__(f"{field}: expected {expected}, found {shorten(found)}")


class UnknownName(RequestError):
    """No entity, relation or type has that name."""

    kind = "name"

    def __init__(self, name: str, nearest: Sequence[str] = (), field: str = "") -> None:
        self.name, self.nearest, self.field = name, tuple(nearest), field
        hint = f"; the nearest are {_listed(nearest)}" if nearest else ""
        super().__init__(f"{_place(field)}no {self.kind} is called {shorten(name)}{hint}")


class UnknownEntity(UnknownName):
    """No entity has that id or label."""

    kind = "entity"


class UnknownRelation(UnknownName):
    """No relation has that id or label."""

    kind = "relation"


class UnknownType(UnknownName):
    """No entity type has that name."""

    kind = "type"


class AmbiguousLabel(RequestError):
    """Several entities have that label; name one by its id."""

    def __init__(self, label: str, choices: Sequence[str], field: str = "") -> None:
        self.label, self.choices, self.field = label, tuple(choices), field
        found = f"{shorten(label)} is the label of {len(choices)} entities: {_listed(choices)}"
        super().__init__(f"{_place(field)}{found}")


class UnknownModel(RequestError):
    """No such model or version is loaded."""

    def __init__(self, name: str, loaded: Sequence[str] = ()) -> None:
        self.name, self.loaded = name, tuple(loaded)
        hint = _listed(loaded) or "none"
        super().__init__(f"no model {shorten(name)} is loaded; loaded are {hint}")


class Unsupported(RequestError):
    """The model was exported without what the request needs."""

    def __init__(self, field: str, needs: str) -> None:
        self.field, self.needs = field, needs
        super().__init__(f"{field}: this model was exported without {needs}")


class NotEnabled(RequestError):
    """The server was started without what the request needs."""

    def __init__(self, needs: str) -> None:
        self.needs = needs
        super().__init__(f"this server was started without {needs}")


class Overloaded(RequestError):
    """The server is at one of its limits; try again later."""

    def __init__(self, limit: int, what: str = "requests in flight") -> None:
        self.limit, self.what = limit, what
        super().__init__(f"the server is at its limit of {limit} {what}; try again later")


class DeadlineExceeded(RequestError):
    """The caller's deadline passed before the work began; the work was dropped."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the work began")


class ChangeTimedOut(RequestError):
    """A change of models took longer than its limit; nothing has changed."""

    def __init__(self, problem: str, limit_s: float) -> None:
        self.problem, self.limit_s = problem, limit_s
        super().__init__(f"{problem} after {limit_s:g} s; nothing has changed")


class Draining(RequestError):
    """The server is shutting down and takes no new work."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class Unauthenticated(RequestError):
    """No token was sent, or an unknown one."""

    def __init__(self) -> None:
        super().__init__("a valid bearer token is required in the metadata key 'authorization'")


class Forbidden(RequestError):
    """The token's role does not allow this call."""

    def __init__(self, method: str) -> None:
        self.method = method
        super().__init__(f"{method} needs the admin role")


def _place(field: str) -> str:
    return f"{field}: " if field else ""


def _listed(names: Sequence[str], most: int = 10) -> str:
    """The first few names, each shortened: a status has room for little text."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shorten, names[:most])) + more


def shorten(value: object, limit: int = 80) -> str:
    """``repr`` of a value, cut to ``limit`` characters and free of control characters."""
    text = repr(value)
    if not text.isprintable():  # some types put line ends or worse into their repr
        text = repr(text)[1:-1]
    return text if len(text) <= limit else text[: limit - 3] + "..."
