"""The certificates of the scheduler's TLS address, read again when their files change."""

from collections.abc import Callable

import grpc

from scheduler.config import SchedulerConfig
from swarm.errors import ConfigError
from swarm.facts import Note
from swarm.io.pem_file import read_pem


class ServerTls:
    """What the scheduler shows to daemons, and what it asks of them."""

    def __init__(self, config: SchedulerConfig, on_note: Callable[[Note], None]) -> None:
        """Read the files; raises ConfigError when one cannot be read."""
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
            self._read = self._contents()
        except ConfigError as error:  # what was read before still counts
            self._on_note(Note("tls_unreadable", fields=(("reason", str(error)),)))
        return self._shown()

    def _shown(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, authority = self._read
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority or None)

    def _contents(self) -> tuple[bytes, bytes, bytes]:
        config = self._config
        certificate = read_pem(config.certificate_file, "certificate_file")
        key = read_pem(config.key_file, "key_file") if config.key_file else certificate
        return certificate, key, read_pem(config.ca_file, "ca_file") if config.ca_file else b""
