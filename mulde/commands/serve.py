"""``mulde serve``: answer over gRPC from a bundle or a model repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from mulde.storage.printable import printable

_SERVER = "Listening"
_MODELS = "Models"
_ACCESS = "Access"
_LIMITS = "Limits"
_LOGS = "Logs"

Host = Annotated[
    str | None,
    typer.Option(help="Address of the gRPC port (127.0.0.1).", rich_help_panel=_SERVER),
]
GrpcPort = Annotated[
    int | None, typer.Option(help="gRPC port; 0 takes a free one (50051).", rich_help_panel=_SERVER)
]
MetricsHost = Annotated[
    str | None,
    typer.Option(help="Address of the metrics port (127.0.0.1).", rich_help_panel=_SERVER),
]
Insecure = Annotated[
    bool | None,
    typer.Option(
        "--insecure",
        help="Listen beyond loopback without TLS and tokens.",
        rich_help_panel=_SERVER,
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        help="Port of /metrics, /livez, /readyz; 0 takes a free one, -1 none (9090).",
        rich_help_panel=_SERVER,
    ),
]
Workers = Annotated[
    int | None, typer.Option(help="Worker processes on the gRPC port (1).", rich_help_panel=_SERVER)
]
Grace = Annotated[
    float | None,
    typer.Option(help="Seconds for running calls after SIGTERM (30).", rich_help_panel=_SERVER),
]
MaxConcurrent = Annotated[
    int | None,
    typer.Option(help="Requests in flight in each process (64).", rich_help_panel=_LIMITS),
]
MaxBatch = Annotated[
    int | None,
    typer.Option(help="Queries in a request, and in a batch (1024).", rich_help_panel=_LIMITS),
]
MaxK = Annotated[
    int | None, typer.Option(help="Most answers for each query (1000).", rich_help_panel=_LIMITS)
]
Pin = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=VERSION to serve, even if there is a newer one.", rich_help_panel=_MODELS
    ),
]
LowMemory = Annotated[
    bool | None,
    typer.Option(
        "--low-memory",
        help="Search the mapped table, without an int8 copy in memory.",
        rich_help_panel=_MODELS,
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        help="Folder for facts that come after the training (mulde facts).", rich_help_panel=_MODELS
    ),
]
TlsCert = Annotated[
    Path | None, typer.Option(help="Certificate chain, PEM.", rich_help_panel=_ACCESS)
]
TlsKey = Annotated[
    Path | None, typer.Option(help="Key of the certificate, PEM.", rich_help_panel=_ACCESS)
]
TlsClientCa = Annotated[
    Path | None,
    typer.Option(help="Authority of client certificates (mutual TLS).", rich_help_panel=_ACCESS),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(help="File of 'read TOKEN' and 'admin TOKEN' lines.", rich_help_panel=_ACCESS),
]
LogFormat = Annotated[str | None, typer.Option(help="json or text (text).", rich_help_panel=_LOGS)]
LogLevel = Annotated[
    str | None,
    typer.Option(help="debug, info, warning or error (info).", rich_help_panel=_LOGS),
]
LogRequests = Annotated[
    bool | None,
    typer.Option("--log-requests", help="Log each request.", rich_help_panel=_LOGS),
]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(serve)


def serve(
    model_dir: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="A bundle, or a repository NAME/VERSION/."),
    ] = None,
    model_dir_option: Annotated[
        Path | None, typer.Option("--model-dir", help="The same as DIR.", rich_help_panel=_MODELS)
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Validate settings and bundles, then exit.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    host: Host = None,
    grpc_port: GrpcPort = None,
    metrics_host: MetricsHost = None,
    metrics_port: MetricsPort = None,
    insecure: Insecure = None,
    workers: Workers = None,
    grace_s: Grace = None,
    pin: Pin = None,
    low_memory: LowMemory = None,
    state: State = None,
    max_concurrent_requests: MaxConcurrent = None,
    max_batch_size: MaxBatch = None,
    max_k: MaxK = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_client_ca: TlsClientCa = None,
    api_key_file: ApiKeyFile = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    log_requests: LogRequests = None,
) -> None:
    """Answer over gRPC.

    Each option can also be set in the environment (MULDE_SERVER__GRPC_PORT) or in a file
    (--config); docs/how-to/operate-a-server.md lists them. One line of JSON on stdout says where
    the server listens.
    """
    # gRPC reads this when it is imported. Its own log repeats what callers send, line feeds
    # included, so a caller could forge lines of ours. Set the variable to see that log.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import structlog  # noqa: F401 - first, so that a missing extra is named serving

    from serving.process import main as run
    from serving.process.settings_sources import read_settings

    flags: dict[str, dict[str, Any]] = {
        "models": {
            "dir": model_dir or model_dir_option,
            "pins": _pins(pin),
            "low_memory": low_memory,
        },
        "server": {
            "host": host,
            "grpc_port": grpc_port,
            "metrics_host": metrics_host,
            "metrics_port": metrics_port,
            "insecure": insecure,
            "workers": workers,
            "grace_s": grace_s,
            "max_concurrent_requests": max_concurrent_requests,
        },
        "state": {"dir": state},
        "limits": {"max_batch_size": max_batch_size, "max_k": max_k},
        "tls": {"cert": tls_cert, "key": tls_key, "client_ca": tls_client_ca},
        "auth": {"api_key_file": api_key_file},
        "log": {"format": log_format, "level": log_level, "requests": log_requests},
    }
    given = {name: _given(values) for name, values in flags.items()}
    settings = read_settings(given, config)
    if check:
        for model in run.check(settings):
            manifest = model.bundle.manifest
            sizes = f"{manifest.entities} entities, {manifest.relations} relations"
            kind = f"{manifest.family}, {manifest.dimension}-d"
            typer.echo(printable(f"ok: {model} ({kind}, {sizes})"))
        return
    run.serve(settings, lambda: read_settings(given, config))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _pins(pins: list[str] | None) -> dict[str, str] | None:
    if not pins:
        return None
    for pin in pins:
        if pin.count("=") != 1:
            raise typer.BadParameter(f"expected NAME=VERSION, found {pin!r}", param_hint="--pin")
    return dict(pin.split("=") for pin in pins)
