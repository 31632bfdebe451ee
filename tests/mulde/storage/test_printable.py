"""Names that would steer a terminal or become markup are shown as text."""

from __future__ import annotations

import pytest

from mulde.storage.printable import markdown, printable, printable_lines

STEERING = ["\x1b[2J", "\x9b31m", "\x07", "\r", "\x00", "\u202e", "\u2028", "\u200f", "\ud800"]


@pytest.mark.parametrize("mark", STEERING, ids=ascii)
def test_what_steers_a_terminal_is_escaped(mark: str) -> None:
    shown = printable(f"a{mark}\nb")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("\\nb")


@pytest.mark.parametrize("text", ["", "Żółć", "東京", "a b", "<b>[red]|*"])
def test_what_only_shows_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1b\n\nb\r") == "a\\x1b\n\nb\\r"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a | b", "a \\| b"),
        ("[x](javascript:0)", "\\[x\\](javascript:0)"),
        ("**a** `b` ~c~ _d_", "\\*\\*a\\*\\* \\`b\\` \\~c\\~ \\_d\\_"),
        ("&amp;", "&amp;amp;"),
        ("a\\", "a\\\\"),
        ("a\n# b", "a\\\\n# b"),
        ("\u202ex", "\\\\u202ex"),
        ("fb15k-237.32", "fb15k-237.32"),
    ],
)
def test_markdown_shows_a_name_as_it_is(text: str, written: str) -> None:
    assert markdown(text) == written
