"""A plain HTTP client for tests: exact headers, no redirects, and a broken body is no error."""

import http.client
import json
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `ending` tells how the body ended: "complete", "cut" (FIN before its end) or "reset"."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    ending: str

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error_code(self) -> str:
        """The first code of a registry's error document."""
        code: str = self.json()["errors"][0]["code"]
        return code


def fetch(
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]] = (),
    *,
    body: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Reply:
    """One request on a connection of its own. Headers go out as they are given, repeated ones too."""
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None, f"{url} has no host"
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.putrequest(
            method, parts._replace(scheme="", netloc="").geturl(), skip_accept_encoding=True
        )
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        with connection.getresponse() as response:
            received, ending = _read(response)
            return Reply(response.status, response.headers, received, ending)
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse) -> tuple[bytes, str]:
    received = b""
    try:
        while chunk := response.read1(1 << 16):
            received += chunk
    except ConnectionResetError:
        return received, "reset"
    except http.client.IncompleteRead as error:
        return received + error.partial, "cut"
    return received, "cut" if response.length else "complete"
