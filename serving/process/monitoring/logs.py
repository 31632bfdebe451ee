"""The log on stderr: one line for each event, as JSON or as text."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from serving.process.settings import LogSettings

Log = structlog.typing.FilteringBoundLogger

_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
_level = {"least": logging.INFO}


def set_level(level: str) -> None:
    """Log nothing below a level, from now on."""
    _level["least"] = _LEVELS[level]


def _drop_below_level(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if _LEVELS[method] < _level["least"]:
        raise structlog.DropEvent
    return event


def open_log(settings: LogSettings, **context: Any) -> Log:
    """A logger that writes JSON or text to stderr.

    Values are escaped in both, so that a label with line feeds or terminal escapes stays one
    harmless line.

    Args:
        settings: format and level.
        **context: put into every line, such as the worker's number.
    """
    if settings.format == "json":
        renderer: Any = structlog.processors.JSONRenderer(sort_keys=False)
    else:
        renderer = structlog.processors.KeyValueRenderer(
            key_order=["timestamp", "level", "event"], drop_missing=True
        )
    set_level(settings.level)
    logger: Log = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            _drop_below_level,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger.bind(**context)
