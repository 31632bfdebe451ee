"""Credentials of the gRPC port: TLS, and mutual TLS where clients must show a certificate."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import grpc

from mulde.errors import ConfigError
from serving.process.access.file_watcher import FileWatcher
from serving.process.settings import TlsSettings

Configuration = grpc.ServerCertificateConfiguration


def credentials(
    settings: TlsSettings, failed: Callable[[ConfigError], None]
) -> grpc.ServerCredentials | None:
    """Credentials that follow the files as they change; None where no certificate is set.

    Each new connection gets the newest certificate that could be read; open ones keep theirs.

    Args:
        settings: which files.
        failed: told of a changed file that cannot be used; the former content stays in use.

    Raises:
        ConfigError: if a file is missing, or certificate and key do not belong together.
    """
    if settings.cert is None or settings.key is None:
        return None
    paths = [path for path in (settings.cert, settings.key, settings.client_ca) if path]
    watched = FileWatcher(paths, lambda: read_configuration(settings), failed)
    served: list[Configuration] = [watched.get()]

    def newest() -> Configuration | None:
        value = watched.get()
        if value is served[0]:
            return None
        served[0] = value
        return value

    return grpc.dynamic_ssl_server_credentials(
        served[0],
        newest,  # type: ignore[arg-type]  # None, for no change, is part of gRPC's contract
        require_client_authentication=settings.client_ca is not None,
    )


def read_configuration(settings: TlsSettings) -> Configuration:
    """Read certificate, key and client authority, and check that they can be used together.

    Raises:
        ConfigError: naming the file.
    """
    assert settings.cert is not None
    assert settings.key is not None
    cert, key = _read("tls.cert", settings.cert), _read("tls.key", settings.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.cert, settings.key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        expected = "a certificate and its key, in PEM without password"
        raise ConfigError("tls.cert", expected, str(settings.cert)) from error
    authority = None
    if settings.client_ca is not None:
        authority = _read("tls.client_ca", settings.client_ca)
        try:
            context.load_verify_locations(settings.client_ca)
        except ssl.SSLError as error:
            found = str(settings.client_ca)
            raise ConfigError("tls.client_ca", "a certificate in PEM", found) from error
    return grpc.ssl_server_certificate_configuration([(key, cert)], authority)


def _no_password() -> str:
    raise ValueError("the key needs a password")


def _read(field: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(field, f"a readable file ({error.strerror})", str(path)) from error
