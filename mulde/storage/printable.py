"""Escape text of unknown origin for terminals and Markdown.

Names in graphs and messages of servers may hold terminal escapes, line ends, marks that change the
direction of writing, markup or HTML. JSON is written in ASCII and needs no escaping here.
"""

from __future__ import annotations

import re

_MARKDOWN = re.compile(r"[\\`*_\[\]|~]")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def printable(text: str) -> str:
    """One line for a terminal: characters that are not printable are escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same for several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))


def markdown(text: str) -> str:
    """One line that Markdown shows as it is, within a sentence or a cell of a table."""
    return _MARKDOWN.sub(r"\\\g<0>", printable(text).translate(_HTML))
