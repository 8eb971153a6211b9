"""How connections to origins are secured: whom we trust, and who we are."""

import os
import ssl

from yarl import URL

from dfdaemon.endpoints import Endpoint
from swarm.errors import OurselvesError
from swarm.io.pem_file import no_password

Key = tuple[bool, str, str, str, tuple[int, ...]]


class TlsContexts:
    """The settings of TLS by registry; made again when a file of theirs changes, as mounted secrets do."""

    def __init__(self) -> None:
        self._contexts: dict[str, tuple[Key, ssl.SSLContext]] = {}
        self.systems = _as_go_checks(ssl.create_default_context())
        """The system's way."""

    def of(self, url: URL, endpoint: Endpoint) -> ssl.SSLContext:
        """Return how to connect to an https address; raises OurselvesError when a file cannot be used.

        `verified = false` and our own certificate count for the registry's own address alone.
        """
        own = (url.host, url.port) == (endpoint.host, endpoint.port)
        verified = endpoint.verified or not own
        certificate, key_file = (endpoint.certificate_file, endpoint.key_file) if own else ("", "")
        if verified and not endpoint.ca_file and not certificate:
            return self.systems
        files = endpoint.ca_file, certificate, key_file
        key = verified, *files, tuple(_changed(file) for file in files)
        place = f"{endpoint.base} {own}"
        known = self._contexts.get(place)
        if known is None or known[0] != key:
            known = self._contexts[place] = key, _context(verified, *files)
        return known[1]


def _changed(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns if file else 0
    except OSError:
        return -1


def _as_go_checks(context: ssl.SSLContext) -> ssl.SSLContext:
    """Trust what containerd trusts: any certificate that is given counts, an intermediate or the registry's own too.

    Nor must a private authority's certificates have each extension of RFC 5280, as Python asks from 3.13 on.
    """
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _context(verified: bool, ca_file: str, certificate_file: str, key_file: str) -> ssl.SSLContext:
    context = _as_go_checks(ssl.create_default_context())
    reading = "certificate_file"
    try:
        if certificate_file:
            context.load_cert_chain(certificate_file, key_file or None, password=no_password)
        reading = "ca_file"
        if verified and ca_file:
            context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError, ValueError) as error:
        file = certificate_file if reading == "certificate_file" else ca_file
        raise OurselvesError(f"{file} cannot be used: {error}; check {reading}") from error
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
