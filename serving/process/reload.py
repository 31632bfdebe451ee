"""SIGHUP: which settings change while a server runs, and which need a restart."""

from __future__ import annotations

from collections.abc import Callable

from mulde.errors import MuldeError
from serving.process.monitoring.logs import Log, set_level
from serving.process.settings import Settings

CHANGEABLE = frozenset({"auth.keep_tokens_s", "log.level", "log.requests", "server.grace_s"})


def reloaded(
    settings: Settings, read: Callable[[], Settings], log: Log, apply: Callable[[Settings], None]
) -> Settings:
    """Read the settings again, apply what can change, and log what changed and what cannot.

    Args:
        settings: in use.
        read: gives the settings as they are now.
        log: where to say it.
        apply: takes over the settings that changed.

    Returns:
        The settings in use from now on.
    """
    try:
        fresh = read()
    except MuldeError as error:
        log.error("settings not reloaded", error=str(error))
        return settings
    differing = _differing(settings, fresh)
    changed = sorted(name for name in differing if name in CHANGEABLE)
    merged = _merged(settings, fresh, changed)
    set_level(merged.log.level)
    apply(merged)
    log.info("settings reloaded", changed=changed, need_restart=sorted(differing - set(changed)))
    return merged


def _differing(one: Settings, other: Settings) -> set[str]:
    """The names "section.name" of settings that differ, the reserved port aside."""
    left, right = one.model_dump(), other.model_dump()
    names = {f"{section}.{name}" for section, values in left.items() for name in values}
    differing = {name for name in names if _value(left, name) != _value(right, name)}
    if other.server.grpc_port == 0:
        differing.discard("server.grpc_port")
    return differing


def _value(dump: dict[str, dict[str, object]], name: str) -> object:
    section, _, key = name.partition(".")
    return dump[section][key]


def _merged(settings: Settings, fresh: Settings, changed: list[str]) -> Settings:
    dump, newer = settings.model_dump(), fresh.model_dump()
    for name in changed:
        section, _, key = name.partition(".")
        dump[section][key] = newer[section][key]
    return Settings.model_validate(dump)
