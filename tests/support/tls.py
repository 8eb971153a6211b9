"""TLS servers of tests, with certificates of their own."""

import ssl
from pathlib import Path

from tests.support.certificates import make_certificate


def tls_pair(directory: Path, address: str = "127.0.0.1") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return how a server at an address proves who it is, and how a client checks that."""
    certificate, key = make_certificate(directory, address)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=certificate)
