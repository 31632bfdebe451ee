"""Text from elsewhere, made harmless for where it is shown.

Names come from other people's graphs, and sentences from other people's servers. They may hold
terminal escapes, line ends, marks that turn the direction of writing, markup or HTML; each place
that shows them passes them through here. JSON needs none of this: it is written in ASCII.
"""

from __future__ import annotations

import re

_MARKDOWN = re.compile(r"[\\`*_\[\]|~]")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def printable(text: str) -> str:
    """One line that a terminal only shows: whatever could steer it is escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same for several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))


def markdown(text: str) -> str:
    """One line that Markdown shows as it is, within a sentence or a cell of a table."""
    return _MARKDOWN.sub(r"\\\g<0>", printable(text).translate(_HTML))
