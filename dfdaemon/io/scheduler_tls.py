"""How the link to the scheduler is secured. Files are read for each attempt, so that new ones count."""

import ssl

import grpc

from dfdaemon.config import DaemonConfig
from swarm.errors import ConfigError, SchedulerError
from swarm.io.pem_file import no_password, read_pem


class LinkTls:
    """What `scheduler.tls` says."""

    def __init__(self, config: DaemonConfig) -> None:
        peer, link = config.peer, config.scheduler
        self.wanted = link.tls
        """Whether the link is TLS at all."""
        self._ca_file = (
            (link.ca_file, "scheduler.ca_file") if link.ca_file else (peer.ca_file, "peer.ca_file")
        )
        self._certificate_file = peer.certificate_file
        self._key_file = peer.key_file or peer.certificate_file

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return what a channel is made with; None: it is plain. Raises SchedulerError when a file cannot be read."""
        if not self.wanted:
            return None
        try:
            authority = read_pem(*self._ca_file)
            if not self._certificate_file:
                return grpc.ssl_channel_credentials(authority)
            certificate = read_pem(self._certificate_file, "peer.certificate_file")
            return grpc.ssl_channel_credentials(
                authority, read_pem(self._key_file, "peer.key_file"), certificate
            )
        except ConfigError as error:
            raise SchedulerError(f"no TLS to the scheduler: {error}") from error

    def context(self) -> ssl.SSLContext:
        """Return the same for a plain TLS connection, as strict as gRPC is. Raises SchedulerError for a bad file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.set_alpn_protocols(["h2"])
        reading = self._ca_file[1]
        try:
            read_pem(*self._ca_file)
            context.load_verify_locations(cafile=self._ca_file[0])
            if self._certificate_file:
                for file in (
                    (self._certificate_file, "peer.certificate_file"),
                    (self._key_file, "peer.key_file"),
                ):
                    read_pem(*file)
                reading = "peer.certificate_file or peer.key_file"
                context.load_cert_chain(self._certificate_file, self._key_file, password=no_password)
        except ConfigError as error:
            raise SchedulerError(f"no TLS to the scheduler: {error}") from error
        except (OSError, ValueError) as error:
            raise SchedulerError(f"no TLS to the scheduler: {reading} cannot be used: {error}") from error
        return context
