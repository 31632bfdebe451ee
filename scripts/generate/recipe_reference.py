"""Generate ``docs/reference/recipe-keys.md`` from the dataclasses of ``training/recipe.py``.

Usage: ``python scripts/generate/recipe_reference.py``
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from training.recipe import Distillation, Recipe, ScorerSettings, Teacher, Text, Training

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "reference" / "recipe-keys.md"
HEADER = """# Recipe keys

Generated from the dataclasses of `training/recipe.py` by `scripts/generate/recipe_reference.py`;
change them there. A key that is not listed, a wrong type or a value outside its range is an error
that names the key. `models/recipes` holds recipes to start from.
"""
TABLES: tuple[tuple[str, type[Any]], ...] = (
    ("At the top of the file", Recipe),
    ("`[junior]`", ScorerSettings),
    ("An entry of `teachers`", Teacher),
    ("`[junior_training]`, `[teacher_training]`, a teacher's `training`", Training),
    ("`[distillation]`", Distillation),
    ("`[text]`", Text),
)
_ENTRY = re.compile(r"^    (\w+): (.*)$")


def page() -> str:
    """Return the text of the page."""
    parts = [HEADER]
    for title, table in TABLES:
        head = [
            f"## {title}",
            "",
            _summary(table),
            "",
            "| key | type and range | default | meaning |",
        ]
        parts.append("\n".join([*head, "|---|---|---|---|", *_rows(table)]) + "\n")
    return "\n".join(parts)


def _summary(table: type[Any]) -> str:
    return _markup((table.__doc__ or "").split("\n\n")[0])


def _rows(table: type[Any]) -> Iterator[str]:
    told = meanings(table)
    hints = get_type_hints(table, include_extras=True)
    own = set(vars(table)["__annotations__"])
    for item in fields(table):
        if item.name in own:
            kind = _markup(_type(hints[item.name]))
            yield f"| `{item.name}` | {kind} | {_default(item)} | {_markup(told[item.name])} |"


def meanings(table: type[Any]) -> dict[str, str]:
    """Return the text of each key in a class's ``Attributes`` section."""
    found: dict[str, str] = {}
    name = ""
    section = cleandoc(table.__doc__ or "").partition("Attributes:\n")[2]
    for line in section.splitlines():
        entry = _ENTRY.match(line)
        if entry:
            name, found[entry[1]] = entry[1], entry[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def _type(hint: Any) -> str:
    """A type and its range in words."""
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        return _type(kind) + "".join(map(_range, notes))
    if get_origin(hint) in (Union, UnionType):
        return _type(next(one for one in get_args(hint) if one is not NoneType))
    if get_origin(hint) is Literal:
        return " or ".join(f'``"{one}"``' for one in get_args(hint))
    if get_origin(hint) is tuple:
        return "array of tables"
    names = {int: "integer", float: "number", str: "text", bool: "``true`` or ``false``"}
    return names.get(hint, "table")


def _range(note: Any) -> str:
    if not isinstance(note, FieldInfo):
        return ""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = []
    for limit in note.metadata:
        for key, word in words.items():
            value = getattr(limit, key, None)
            if value is not None and value != 2**31:
                found.append(f"{word} {value:g}")
        if getattr(limit, "multiple_of", None) == 2:
            found.append("even")
        if getattr(limit, "pattern", None):
            found.append("letters, digits, ``.``, ``_`` and ``-``")
    return "".join(f", {one}" for one in found)


def _default(item: Field[Any]) -> str:
    if item.default is MISSING:
        return "all defaults" if item.default_factory is not MISSING else "required"
    if item.default is None:
        return "absent"
    if item.default == ():
        return "none"
    text = f"{item.default}".lower() if isinstance(item.default, bool) else f"{item.default!r}"
    return f"`{text}`".replace("'", '"')


def _markup(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
