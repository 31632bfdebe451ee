"""The token file: roles, ends, and a comparison whose time tells nothing."""

from __future__ import annotations

import hmac
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mulde.errors import ConfigError
from serving.process.access.tokens import Tokens

NOON = 1_800_000_000.0  # 2027-01-15T08:00:00Z
TOKENS = [f"{letter * 20}" for letter in "abcdefgh"]


def read(folder: Path, text: str, now_s: float = NOON) -> Tokens:
    path = folder / "tokens"
    path.write_text(text)
    return Tokens(path, clock=lambda: now_s)


@pytest.mark.parametrize(
    ("until", "role"),
    [
        ("", "read"),
        ("2027-01-16", "read"),
        ("2027-01-15", None),
        ("2027-01-15T08:00:01Z", "read"),
        ("2027-01-15T08:00:00Z", None),
        ("2027-01-15T08:00:01", "read"),
        ("2027-01-15T09:00:01+01:00", "read"),
        ("2027-01-15T09:00:00+01:00", None),
        ("1970-01-01", None),
    ],
)
def test_a_token_is_known_until_its_end(tmp_path: Path, until: str, role: str | None) -> None:
    assert read(tmp_path, f"read {TOKENS[0]} {until}\n").role(TOKENS[0]) == role


@pytest.mark.parametrize("word", ["tomorrow", "2027-13-01", "1800000000.0.0", TOKENS[1]])
def test_an_end_that_is_none_is_refused_without_a_word_of_the_line(
    tmp_path: Path, word: str
) -> None:
    with pytest.raises(ConfigError, match="tokens:2: expected") as caught:
        read(tmp_path, f"read {TOKENS[0]}\nread {TOKENS[1]} {word}\n")
    assert word not in str(caught.value)
    assert TOKENS[1] not in str(caught.value)


def comparisons(tokens: Tokens, token: str) -> int:
    """How often a look-up calls the comparison that takes the same time for all inputs."""
    count = 0

    def watch(frame: FrameType, event: str, called: Any) -> None:
        nonlocal count
        count += event == "c_call" and called is hmac.compare_digest

    former = sys.getprofile()
    sys.setprofile(watch)
    try:
        tokens.role(token)
    finally:
        sys.setprofile(former)
    return count


@pytest.mark.parametrize("token", [TOKENS[0], TOKENS[-1], "unknown", ""])
def test_every_token_is_compared_in_constant_time_whichever_was_sent(
    tmp_path: Path, token: str
) -> None:
    tokens = read(tmp_path, "".join(f"read {known}\n" for known in TOKENS))
    assert comparisons(tokens, token) == len(TOKENS)


def test_tokens_are_not_kept(tmp_path: Path) -> None:
    tokens = read(tmp_path, f"read {TOKENS[0]}\n")
    seen, waiting = set(), [vars(tokens)]
    while waiting:
        value: Any = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        assert value not in (TOKENS[0], TOKENS[0].encode())
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif hasattr(value, "__dict__"):
            waiting.append(vars(value))
