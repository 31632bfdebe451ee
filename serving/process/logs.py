"""What the server says on stderr: one line for each event, as JSON or for people."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from serving.process.settings import LogSettings

Log = structlog.typing.FilteringBoundLogger


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
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    logger: Log = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger.bind(**context)
