"""Tokens and the roles that they have."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mulde.errors import (
    ConfigError,
    Forbidden,
    Unauthenticated,
)
from serving.process.access.auth import ADMIN_METHODS, AuthInterceptor, FailureLimit
from serving.process.access.file_watcher import FileWatcher
from serving.process.access.tokens import Tokens
from serving.process.monitoring.logs import open_log
from serving.process.settings import LogSettings

READ, ADMIN = "r" * 16, "a" * 16
PREDICT = "mulde.v1.LinkPredictionService.PredictTails"
LOAD = "mulde.v1.ModelService.LoadModel"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    path = tmp_path / "tokens"
    path.write_text(f"# comment\n\nread {READ}\n  admin\t{ADMIN}  \n")
    return Tokens(path)


def interceptor(tokens: Tokens | None) -> AuthInterceptor:
    return AuthInterceptor(tokens, open_log(LogSettings()), max_failures=60)


def peer() -> str:
    return "ipv4:127.0.0.1:40000"


def bearer(token: str) -> dict[str, str | bytes]:
    return {"authorization": f"Bearer {token}"}


def test_tokens_have_roles(tokens: Tokens) -> None:
    assert tokens.role(READ) == "read"
    assert tokens.role(ADMIN) == "admin"
    assert tokens.role("r" * 15) is None
    assert tokens.role("") is None


def test_the_log_can_tell_tokens_apart_and_not_use_them(tokens: Tokens) -> None:
    names = [known.name for token in (READ, ADMIN) if (known := tokens.find(token))]
    assert [name.partition("-")[0] for name in names] == ["read", "admin"]
    assert len(set(names)) == 2
    assert not any(token[:4] in name.partition("-")[2] for token in (READ,) for name in names)


def test_each_role_may_do_its_part(tokens: Tokens) -> None:
    auth = interceptor(tokens)
    auth.check(PREDICT, bearer(READ), peer)
    auth.check(PREDICT, bearer(ADMIN), peer)
    auth.check(LOAD, bearer(ADMIN), peer)
    with pytest.raises(Forbidden):
        auth.check(LOAD, bearer(READ), peer)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"authorization": READ},
        {"authorization": f"Basic {READ}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {READ}x"},
        {"authorization": READ.encode()},
    ],
)
def test_a_call_without_a_known_token_is_refused(
    tokens: Tokens, metadata: dict[str, str | bytes]
) -> None:
    for method in (PREDICT, LOAD):
        with pytest.raises(Unauthenticated):
            interceptor(tokens).check(method, metadata, peer)


def test_without_a_token_file_all_may_read_and_none_may_administer() -> None:
    auth = interceptor(None)
    assert auth.of(PREDICT) is None
    for method in ADMIN_METHODS:
        with pytest.raises(Forbidden):
            auth.check(method, bearer(ADMIN), peer)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("", "at least one token"),
        (f"read {READ}\nwrite {READ}\n", "tokens:2"),
        ("read short\n", "tokens:1"),
        (f"read {READ} extra\n", "tokens:1"),
        ("read\n", "tokens:1"),
    ],
)
def test_a_wrong_token_file_names_the_line_and_no_token(
    tmp_path: Path, content: str, where: str
) -> None:
    path = tmp_path / "tokens"
    path.write_text(content)
    with pytest.raises(ConfigError, match=where) as caught:
        Tokens(path)
    assert READ not in str(caught.value)
    assert "short" not in str(caught.value)


def test_changed_files_are_read_again_and_a_bad_change_is_not(tmp_path: Path) -> None:
    path, failures = tmp_path / "value", list[ConfigError]()

    def read() -> str:
        text = path.read_text()
        if text == "bad":
            raise ConfigError(str(path), "good", text)
        return text

    path.write_text("one")
    watched = FileWatcher([path], read, failures.append, interval_s=0.0)
    assert watched.get() == "one"
    for text, expected in (("two", "two"), ("bad", "two"), ("four", "four")):
        path.write_text(text)
        os.utime(path, ns=(time.time_ns(), time.time_ns()))
        assert watched.get() == watched.get() == expected
    assert len(failures) == 1


def test_failures_are_counted_by_address_and_minute() -> None:
    now = 0.0
    limit = FailureLimit(2, clock=lambda: now)
    assert [limit.count("a") for _ in range(3)] == [True, True, False]
    assert limit.count("b")
    now = 60.0
    assert limit.count("a")


def test_failures_of_many_addresses_take_little_memory() -> None:
    limit = FailureLimit(1, clock=lambda: 0.0)
    assert limit.count("first")
    assert not limit.count("first")
    for number in range(1024):
        limit.count(f"host {number}")
    assert limit.count("first")  # forgotten, as the oldest of more than 1,024
