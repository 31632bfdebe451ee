"""Settings of the gateway, and the rule for addresses beyond loopback."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mulde.client import Connection
from mulde.errors import ConfigError
from serving.process.addresses import is_loopback

MAX_BODY_BYTES = 16 << 20


@dataclass(frozen=True)
class GatewaySettings:
    """What a gateway is told.

    Attributes:
        server: the gRPC server. Its token goes with calls that bring none.
        host: to listen on.
        port: 0 for a free one.
        cert, key: certificate chain and key, PEM; both or none.
        cors: origins whose pages may call, such as "https://example.org"; none by default.
        insecure: listen beyond loopback without TLS and without asking for tokens.
        max_body_bytes: of a request.
        timeout_s: for a call of the server.
        metrics_port: of the metrics for Prometheus, 0 for a free one; None for no metrics.
        metrics_host: of the metrics; they name methods and statuses, no caller and no entity.
    """

    server: Connection
    host: str = "127.0.0.1"
    port: int = 8080
    cert: Path | None = None
    key: Path | None = None
    cors: tuple[str, ...] = ()
    insecure: bool = False
    max_body_bytes: int = MAX_BODY_BYTES
    timeout_s: float = 30.0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine's users can reach it, and were not all let in."""
        return not is_loopback(self.host) and not self.insecure

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            ConfigError: naming the option and what is missing.
        """
        if (self.cert is None) != (self.key is None):
            raise ConfigError("tls", "--tls-cert and --tls-key together", "one of them")
        for origin in self.cors:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ConfigError("cors", "an origin such as https://example.org", origin)
        if not self.is_exposed:
            return
        if self.cert is None:
            expected = "a loopback address; any other needs --tls-cert and --tls-key, or --insecure"
            raise ConfigError("host", expected, self.host)
        if self.server.token:
            expected = "none beyond loopback, since every caller would have its rights"
            raise ConfigError("token", f"{expected}; callers send their own", "one")
