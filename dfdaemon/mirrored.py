"""Addresses in a registry's answers, written anew so that a client which follows them comes back to the mirror.

Location of an upload or of what was pushed (OCI distribution specification, "Pushing Blobs"); Link of a list that
goes on (RFC 8288, "Listing Tags"). Addresses elsewhere, such as signed ones of a storage, stay as they are.
"""

import re
from urllib.parse import quote, urljoin, urlsplit

from dfdaemon.endpoints import PORTS, Endpoint

_TARGET = re.compile(r"<([^<>]*)>")


def mirrored(location: str, asked: str, endpoint: Endpoint, named: tuple[str, str] = ("", "")) -> str:
    """Return an address at the origin as one at this mirror, with `ns`.

    `asked`: the URL whose answer holds it. `named`: the path of the repository there, and what clients call it.
    """
    try:
        parts = urlsplit(urljoin(asked, location))
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return location
    if (parts.scheme, parts.hostname, port) != (endpoint.scheme, endpoint.host, endpoint.port):
        return location
    there, here = named
    path = parts.path
    if there != here and path.startswith(f"{there}/"):
        path = here + path.removeprefix(there)
    query = f"{parts.query}&" if parts.query else ""
    return f"{path}?{query}ns={quote(endpoint.registry, safe='')}"


def mirrored_links(header: str, asked: str, endpoint: Endpoint, named: tuple[str, str] = ("", "")) -> str:
    """Return a Link header with all its targets at this mirror."""
    return _TARGET.sub(lambda found: f"<{mirrored(found[1], asked, endpoint, named)}>", header)
