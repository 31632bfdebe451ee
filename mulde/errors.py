"""Every error that mulde raises on purpose, in one tree.

::

    MuldeError
    ├── ConfigError            a recipe, flag, environment variable or settings file is wrong
    ├── DatasetError           a triple file is wrong: names file, line and field
    ├── CheckpointError        a training run cannot be resumed or read
    ├── TrainingDiverged       scores or losses are no longer finite
    ├── JobError               a batch job cannot be run or resumed
    ├── BundleError            a bundle is missing, damaged, foreign or does not match its model
    ├── Unreachable            no server answers at that address
    ├── ServerError            the server failed by a fault of its own
    └── RequestError           the caller asked for something that cannot be answered
        ├── InvalidArgument    a field is outside its limits
        ├── UnknownEntity      no entity has that id or label
        ├── UnknownRelation    no relation has that id or label
        ├── UnknownType        no entity type has that name
        ├── AmbiguousLabel     several entities have that label
        ├── UnknownModel       no such model or version is loaded
        ├── Unsupported        the model was exported without what that needs
        ├── Overloaded         the queue is full
        ├── DeadlineExceeded   the caller's deadline passed before the work began
        ├── Starting           the server is still loading
        ├── Draining           the server is shutting down
        ├── Unauthenticated    no token, or a wrong one
        └── Forbidden          the token may not do this

A class takes facts and writes its own sentence: what was expected, what was found, where.
The tree knows no status codes; ``serving/rpc/handlers.py`` has the only table of those.
"""
# ruff: noqa: N818 - a name such as UnknownEntity says more than its suffix would.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class MuldeError(Exception):
    """Root of every error that mulde raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle facts and sentence, so that an error crosses processes (workers) as it is.

        By default an exception is rebuilt from its sentence, which few constructors here take.
        """
        return _revive, (type(self), self.args), self.__dict__


def _revive(kind: type[MuldeError], args: tuple[object, ...]) -> MuldeError:
    """An error without a call of its constructor."""
    return kind.__new__(kind, *args)


class ConfigError(MuldeError):
    """A recipe, flag, environment variable or settings file is wrong."""

    def __init__(self, where: str, expected: str, found: object) -> None:
        self.where, self.expected, self.found = where, expected, found
        super().__init__(f"{where}: expected {expected}, found {found!r}")


class DatasetError(MuldeError):
    """A graph on disk is wrong."""

    def __init__(self, path: Path | str, problem: str, line: int | None = None) -> None:
        self.path, self.problem, self.line = Path(path), problem, line
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {problem}")


class CheckpointError(MuldeError):
    """A training run cannot be resumed or read."""

    def __init__(self, path: Path | str, problem: str) -> None:
        self.path, self.problem = Path(path), problem
        super().__init__(f"{path}: {problem}")


class TrainingDiverged(MuldeError):
    """A loss or score is no longer finite; the last good checkpoint is kept."""

    def __init__(self, epoch: int, what: str, kept: Path | None) -> None:
        self.epoch, self.what, self.kept = epoch, what, kept
        tail = f"; the last good state is in {kept}" if kept else ""
        super().__init__(f"epoch {epoch}: {what} is not finite{tail}")


class JobError(MuldeError):
    """A batch job cannot be run or resumed."""

    def __init__(self, path: Path | str, problem: str) -> None:
        self.path, self.problem = Path(path), problem
        super().__init__(f"{path}: {problem}")


class BundleError(MuldeError):
    """A bundle is missing, damaged, foreign or does not match its model."""

    def __init__(self, path: Path | str, problem: str) -> None:
        self.path, self.problem = Path(path), problem
        super().__init__(f"{path}: {problem}")


class Unreachable(MuldeError):
    """No server answers at that address, or the connection broke."""

    def __init__(self, address: str, reason: str) -> None:
        self.address, self.reason = address, reason
        super().__init__(f"no answer from {address}: {reason}")


class ServerError(MuldeError):
    """The server failed by a fault of its own; its log explains the request id."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"the server failed with {code}: {message}")


class RequestError(MuldeError):
    """The caller asked for something that cannot be answered."""


class InvalidArgument(RequestError):
    """A field is outside its limits."""

    def __init__(self, field: str, expected: str, found: object) -> None:
        self.field, self.expected, self.found = field, expected, found
        super().__init__(f"{field}: expected {expected}, found {shorten(found)}")


class UnknownName(RequestError):
    """No entity or relation has that id or label."""

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


class Overloaded(RequestError):
    """The queue is full; try again later."""

    def __init__(self, limit: int, what: str = "requests in flight") -> None:
        self.limit, self.what = limit, what
        super().__init__(f"the server is at its limit of {limit} {what}; try again later")


class DeadlineExceeded(RequestError):
    """The caller's deadline passed before the work began; the work was dropped."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the work began")


class Starting(RequestError):
    """The server is still loading its models."""

    def __init__(self) -> None:
        super().__init__("the server is still loading; try again soon")


class Draining(RequestError):
    """The server is shutting down and takes no new work."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class Unauthenticated(RequestError):
    """No token was sent, or one that is not known."""

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
    """The first few names, each shortened: a sentence must fit where it is sent."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shorten, names[:most])) + more


def shorten(value: object, limit: int = 80) -> str:
    """``repr`` of a value, cut to ``limit`` characters and free of control characters."""
    text = repr(value)
    if not text.isprintable():  # some types put line ends or worse into their repr
        text = repr(text)[1:-1]
    return text if len(text) <= limit else text[: limit - 3] + "..."
