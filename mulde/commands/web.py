"""``mulde web``: REST, JSON and a web page in front of a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mulde.commands.asking.client_options import ServerOptions, with_options

_WEB = "Gateway"


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(with_options(web))


def web(
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=_WEB)] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 for a free one.", rich_help_panel=_WEB)
    ] = 8080,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate chain, PEM.", rich_help_panel=_WEB)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Key of the certificate, PEM.", rich_help_panel=_WEB)
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose pages may call; none by default.", rich_help_panel=_WEB),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Listen beyond loopback without TLS.", rich_help_panel=_WEB
        ),
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of metrics for Prometheus; none by default.",
            rich_help_panel=_WEB,
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(help="Address of the metrics.", rich_help_panel=_WEB)
    ] = "127.0.0.1",
    *,
    server: ServerOptions,
) -> None:
    """Serve REST, JSON and a web page that ask a server over gRPC.

    Callers' tokens are passed on to the server. One line of JSON on stdout says where the gateway
    listens; docs/how-to/ask-over-rest.md and docs/how-to/use-the-web-page.md show what it answers.
    """
    # gRPC reads this when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import starlette  # noqa: F401 - first, so that a missing extra is named web

    from serving.gateway.main import serve
    from serving.gateway.settings import GatewaySettings

    settings = GatewaySettings(
        server.connection(attempts=1),
        host=host,
        port=port,
        cert=tls_cert,
        key=tls_key,
        cors=tuple(cors or ()),
        insecure=insecure,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
    )
    serve(settings)
