"""Where a server is and how to reach it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import grpc

_RETRIED = (
    "mulde.v1.LinkPredictionService",
    "mulde.v1.VocabularyService",
    "mulde.v1.ModelService/GetModel",
    "mulde.v1.ModelService/ListModels",
)

_MOST_BACKOFF_MS = 2000


@dataclass(frozen=True)
class Connection:
    """An address and what it takes to be let in.

    Attributes:
        address: host:port.
        token: sent as ``authorization: Bearer``; never shown by ``repr``.
        ca: certificate of the authority that the server must show one from (turns TLS on).
        cert: certificate chain of this client, for mutual TLS (turns TLS on).
        key: its key.
        tls: use TLS, with the system's authorities where ``ca`` is None.
        attempts: how often a call that only reads is tried while the server is unavailable, 1 to 5.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    tls: bool = False
    attempts: int = 4

    @property
    def secure(self) -> bool:
        """Whether TLS is used."""
        return self.tls or any(path is not None for path in (self.ca, self.cert, self.key))

    def credentials(self) -> grpc.ChannelCredentials:
        """Credentials for a TLS channel."""
        ca, key, cert = (
            None if path is None else Path(path).read_bytes()
            for path in (self.ca, self.key, self.cert)
        )
        return grpc.ssl_channel_credentials(ca, key, cert)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def options(self) -> list[tuple[str, str | int]]:
        """Options of the channel: answers of any size, and retries of calls that only read."""
        return [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Retries connect again, instead of hearing once more that connecting has failed.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", _MOST_BACKOFF_MS),
            ("grpc.service_config", json.dumps(self._service_config())),
        ]

    def _service_config(self) -> dict[str, object]:
        """Retries, which stop while more than half of the calls fail."""
        throttling = {"maxTokens": 10, "tokenRatio": 0.1}
        return {"methodConfig": self._methods(), "retryThrottling": throttling}

    def _methods(self) -> list[dict[str, object]]:
        if self.attempts <= 1:
            return []
        names = [name.partition("/") for name in _RETRIED]
        policy = {
            "maxAttempts": self.attempts,
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        named = [
            {"service": service, **({"method": method} if method else {})}
            for service, _, method in names
        ]
        return [{"name": named, "retryPolicy": policy}]
