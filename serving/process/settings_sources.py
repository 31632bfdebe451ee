"""Read settings from flags, environment and file, and say in plain words what is wrong."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mulde.errors import ConfigError
from serving.process.settings import Settings

_PREFIX = "MULDE_"
OTHER_VARIABLES = frozenset({"MULDE_ADDRESS", "MULDE_DATA", "MULDE_TOKEN"})
"""Variables of mulde's other commands, which a server ignores."""

_SERVICE_LINK = re.compile(r"MULDE(_\w+)?_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP)(_\w+)?)")

Layer = dict[str, dict[str, Any]]

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": 'a table such as {"NAME": "VERSION"}',
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "missing": "a value",
    "model_type": "a table of settings",
    "path_type": "a path",
    "string_type": "text",
    "value_error": "{error}",
}


def read_settings(
    flags: Mapping[str, Mapping[str, Any]],
    config: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Put flags, environment and file together.

    Args:
        flags: section -> name -> value, only those that were given.
        config: a TOML file, or None.
        environment: variables, of which those that begin with MULDE_ count.

    Raises:
        ConfigError: naming the setting.
    """
    merged: Layer = {}
    for layer in (_file_layer(config), _environment_layer(environment), flags):
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise ConfigError(section, f"a table [{section}] of settings", values)
            merged.setdefault(section, {}).update(values)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise _config_error(error) from None


def _file_layer(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), "a TOML file", str(error)) from error


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    """Settings of the variables MULDE_SECTION__NAME.

    Raises:
        ConfigError: for a variable with another name that begins with MULDE_, in whatever case. Its
            value is not repeated, since it may be a secret.
    """
    known = {
        f"{_PREFIX}{section}__{name}".upper(): (section, name)
        for section, names in _names().items()
        for name in names
    }
    layer: Layer = {}
    for variable, value in environment.items():
        if not variable.upper().startswith(_PREFIX) or variable in OTHER_VARIABLES:
            continue
        if _is_service_link(variable, value):
            continue
        if variable not in known:
            nearest = difflib.get_close_matches(variable.upper(), known, 1, 0.0)[0]
            expected = f"a known variable, the nearest is {nearest}"
            raise ConfigError("environment", expected, variable)
        section, name = known[variable]
        if not value:
            raise ConfigError(variable, "a value; unset it for the default", value)
        layer.setdefault(section, {})[name] = _table(variable, value) if name == "pins" else value
    return layer


def _is_service_link(variable: str, value: str) -> bool:
    """Whether Kubernetes set it, for a service called mulde or mulde-something."""
    bare_port = variable.endswith("_PORT") and value.startswith(("tcp://", "udp://"))
    return bare_port or _SERVICE_LINK.fullmatch(variable) is not None


def _table(variable: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        expected = _EXPECTED["dict_type"]
        raise ConfigError(variable, expected, value) from None


def _names() -> dict[str, list[str]]:
    """The names of all settings, by section."""
    sections = Settings.model_fields.items()
    return {
        section: list(field.annotation.model_fields)
        for section, field in sections
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _config_error(error: ValidationError) -> ConfigError:
    """The first thing that is wrong, without words of the library that found it."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    where = ".".join(path) or "settings"
    if first["type"] == "extra_forbidden":
        return ConfigError(where, f"a known setting, the nearest is {_nearest(path)}", path[-1])
    if path in (["models"], ["models", "dir"]) and first["type"] == "missing":
        return ConfigError("models.dir", "a bundle or a model repository (mulde serve DIR)", "none")
    template = _EXPECTED.get(first["type"], "another value")
    expected = template.format(**first.get("ctx", {}))
    return ConfigError(where, expected, first["input"])


def _nearest(path: list[str]) -> str:
    names = _names()
    known = [f"{section}.{name}" for section, inside in names.items() for name in inside]
    if len(path) == 1:
        return difflib.get_close_matches(path[0].lower(), names, 1, 0.0)[0]
    return difflib.get_close_matches(".".join(path[:2]).lower(), known, 1, 0.0)[0]
