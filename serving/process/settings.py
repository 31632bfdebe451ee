"""Settings of a server, from flags, environment and file, in this order of precedence.

    flag                      --grpc-port 50051
    environment               MULDE_SERVER__GRPC_PORT=50051
    file, with --config       [server] grpc_port = 50051        (TOML)

A name that is not a setting is an error in all three.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mulde.errors import ConfigError
from serving.process.addresses import is_loopback

_MIB = 1 << 20


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """Addresses, processes and limits on calls and connections."""

    host: str = "127.0.0.1"
    grpc_port: int = Field(default=50051, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=9090, ge=-1, le=65535)
    insecure: bool = False
    workers: int = Field(default=1, ge=1, le=256)
    grace_s: float = Field(default=30.0, ge=0, le=3600)
    heartbeat_timeout_s: float = Field(default=10.0, ge=1, le=3600)
    change_timeout_s: float = Field(default=120.0, ge=1, le=86_400)
    max_concurrent_requests: int = Field(default=64, ge=1, le=4096)
    max_wait_ms: float = Field(default=50.0, gt=0, le=3_600_000)
    max_bulk_requests: int = Field(default=16, ge=1, le=4096)
    max_connections: int | None = Field(default=None, ge=1, le=1_000_000)
    max_unsent_bytes: int = Field(default=256 * _MIB, ge=1024, le=1 << 40)
    reflection: bool = True

    def is_loopback(self) -> bool:
        """Whether only this machine can reach the gRPC port."""
        return is_loopback(self.host)


class LimitSettings(_Section):
    """Limits on one request."""

    max_batch_size: int = Field(default=1024, ge=1, le=65536)
    max_k: int = Field(default=1000, ge=1, le=1_000_000)
    max_name_bytes: int = Field(default=1024, ge=16, le=65536)
    max_filter_names: int = Field(default=100_000, ge=1, le=10_000_000)
    max_message_bytes: int = Field(default=16 * _MIB, ge=1024, le=1024 * _MIB)


class ModelSettings(_Section):
    """Models to serve."""

    dir: Path
    pins: dict[str, str] = Field(default_factory=dict)
    low_memory: bool = False


class StateSettings(_Section):
    """What a server keeps beyond its bundles."""

    dir: Path | None = None


class TlsSettings(_Section):
    """Certificates; read again when they change."""

    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> TlsSettings:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key together")
        if self.client_ca is not None and self.cert is None:
            raise ValueError("cert and key with client_ca")
        return self


class AuthSettings(_Section):
    """Tokens of callers; read again when they change."""

    api_key_file: Path | None = None
    keep_tokens_s: float = Field(default=60.0, ge=0, le=86_400)
    max_failures_per_minute: int = Field(default=60, ge=1, le=1_000_000)


class LogSettings(_Section):
    """The log on stderr."""

    format: Literal["json", "text"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    requests: bool = False


_LOW_MEMORY: dict[str, dict[str, int]] = {
    "server": {"max_concurrent_requests": 8, "max_bulk_requests": 2, "max_unsent_bytes": 4 * _MIB},
    "limits": {"max_message_bytes": _MIB // 2},
}
"""The largest values with ``--low-memory``."""


class Settings(_Section):
    """All settings of a server."""

    models: ModelSettings
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    tls: TlsSettings = TlsSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()
    state: StateSettings = StateSettings()

    def with_low_memory(self) -> Settings:
        """Return the settings with limits that keep a process small, whatever is asked."""
        return self.model_copy(
            update={
                name: (section := getattr(self, name)).model_copy(
                    update={key: min(most, getattr(section, key)) for key, most in limits.items()}
                )
                for name, limits in _LOW_MEMORY.items()
            }
        )


def check_state(settings: Settings) -> None:
    """Refuse a folder for facts inside the models, which are immutable.

    Raises:
        ConfigError: naming the folder.
    """
    folder, models = settings.state.dir, settings.models.dir.resolve()
    if folder is not None and folder.resolve().is_relative_to(models):
        raise ConfigError("state.dir", f"a folder outside the models in {models}", str(folder))


def check_exposure(settings: Settings) -> None:
    """Refuse to listen beyond loopback without TLS and tokens, unless that was asked for.

    Client certificates (mutual TLS) stand for tokens.

    Raises:
        ConfigError: naming what is missing.
    """
    server, tls = settings.server, settings.tls
    if server.is_loopback() or server.insecure:
        return
    missing = [] if tls.cert else ["TLS (--tls-cert, --tls-key)"]
    if settings.auth.api_key_file is None and tls.client_ca is None:
        missing.append("tokens (--api-key-file)")
    if missing:
        expected = f"a loopback address; any other needs {' and '.join(missing)}, or --insecure"
        raise ConfigError("server.host", expected, server.host)
