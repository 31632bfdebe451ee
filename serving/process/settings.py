"""What a server can be told, from flags, environment and file, in this order of precedence.

    flag                      --grpc-port 50051
    environment               MULDE_SERVER__GRPC_PORT=50051
    file, with --config       [server] grpc_port = 50051        (TOML)

A name that does not exist is an error wherever it stands.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mulde.errors import ConfigError

_MIB = 1 << 20


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """Where to listen, and with how many processes."""

    host: str = "127.0.0.1"
    grpc_port: int = Field(default=50051, ge=0, le=65535)
    metrics_port: int = Field(default=9090, ge=-1, le=65535)
    workers: int = Field(default=1, ge=1, le=256)
    grace_s: float = Field(default=30.0, ge=0, le=3600)
    max_concurrent_requests: int = Field(default=64, ge=1, le=4096)
    max_wait_ms: float = Field(default=50.0, gt=0, le=3_600_000)
    max_connections: int = Field(default=4096, ge=1, le=1_000_000)
    max_unsent_bytes: int = Field(default=256 * _MIB, ge=1024, le=1 << 40)
    reflection: bool = True

    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def address(self, port: int) -> str:
        """host:port, with brackets around an IPv6 address."""
        host = self.host.strip("[]")
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class LimitSettings(_Section):
    """What one request may ask for."""

    max_batch_size: int = Field(default=1024, ge=1, le=65536)
    max_k: int = Field(default=1000, ge=1, le=1_000_000)
    max_name_bytes: int = Field(default=1024, ge=16, le=65536)
    max_filter_names: int = Field(default=100_000, ge=1, le=10_000_000)
    max_message_bytes: int = Field(default=16 * _MIB, ge=1024, le=1024 * _MIB)


class BatchSettings(_Section):
    """How callers share a run of the engine."""

    max_queue_delay_us: int = Field(default=0, ge=0, le=1_000_000)
    max_waiting: int = Field(default=4096, ge=1, le=1_000_000)


class ModelSettings(_Section):
    """What to serve."""

    dir: Path
    pins: dict[str, str] = Field(default_factory=dict)
    low_memory: bool = False


class TlsSettings(_Section):
    """Certificates; read again when they change."""

    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> TlsSettings:
        if (self.cert is None) != (self.key is None):
            raise ValueError("expected cert and key together")
        if self.client_ca is not None and self.cert is None:
            raise ValueError("expected cert and key with client_ca")
        return self


class AuthSettings(_Section):
    """Who may call."""

    api_key_file: Path | None = None


class LogSettings(_Section):
    """What to write about it, on stderr."""

    format: Literal["json", "text"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    requests: bool = False


class Settings(BaseSettings):
    """Everything a server can be told."""

    model_config = SettingsConfigDict(
        env_prefix="MULDE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    models: ModelSettings
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    batching: BatchSettings = BatchSettings()
    tls: TlsSettings = TlsSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then file (handed over under the key "_file")."""
        flags = dict(init_settings())
        file = flags.pop("_file", {})
        return (
            InitSettingsSource(settings_cls, flags),
            env_settings,
            InitSettingsSource(settings_cls, file),
        )


def read_settings(flags: Mapping[str, Mapping[str, Any]], config: Path | None = None) -> Settings:
    """Put flags, environment and file together.

    Args:
        flags: section -> name -> value, only those that were given.
        config: a TOML file, or None.

    Raises:
        ConfigError: naming the setting.
    """
    try:
        return Settings.model_validate({**flags, "_file": _read_file(config)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise ConfigError(where, first["msg"], first["input"]) from None


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), "a TOML file", str(error)) from error
