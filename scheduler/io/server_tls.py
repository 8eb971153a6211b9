"""The certificates of the scheduler's TLS address, read again when their files change."""

import ssl
from collections.abc import Callable

import grpc

from scheduler.config import SchedulerConfig
from swarm.errors import ConfigError
from swarm.facts import Note
from swarm.io.pem_file import no_password, read_pem

Contents = tuple[bytes, bytes, bytes]


class ServerTls:
    """What the scheduler shows to daemons, and what it asks of them."""

    def __init__(self, config: SchedulerConfig, on_note: Callable[[Note], object]) -> None:
        """Read the files; raises ConfigError when one cannot be used. `on_note` is called in threads of gRPC."""
        self._config = config
        self._on_note = on_note
        self._read = self._contents()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what an address is opened with."""
        return grpc.dynamic_ssl_server_credentials(
            self._shown(), self._renewed, require_client_authentication=bool(self._config.ca_file)
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration:
        """Return what is shown from now on. gRPC asks for each connection."""
        try:
            self._read = self._contents(self._read)
        except ConfigError as error:  # what was read before still counts
            self._on_note(Note("tls_unreadable", fields=(("reason", str(error)),)))
        return self._shown()

    def _shown(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, authority = self._read
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority or None)

    def _contents(self, known: Contents | None = None) -> Contents:
        """Return what the files hold, checked unless it is known. Raises ConfigError."""
        config = self._config
        certificate = read_pem(config.certificate_file, "certificate_file")
        key = read_pem(config.key_file, "key_file") if config.key_file else certificate
        found = certificate, key, read_pem(config.ca_file, "ca_file") if config.ca_file else b""
        if found != known:
            _check(config)
        return found


def _check(config: SchedulerConfig) -> None:
    """Try the files as gRPC would, which tells nobody what is wrong with them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    reading = "certificate_file and key_file"
    try:
        context.load_cert_chain(config.certificate_file, config.key_file or None, password=no_password)
        reading = "ca_file"
        if config.ca_file:
            context.load_verify_locations(cafile=config.ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"tls_listen cannot be served: {error}; check {reading}") from error
