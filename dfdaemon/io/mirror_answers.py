"""The mirror's answers to clients: headers of content, and errors as the distribution specification writes them.

Never 408 or 429: containerd repeats those at once. With 401, 403, 404, 416 and 5xx it goes on to its next host.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from swarm.digest import Digest
from swarm.errors import (
    BadDigest,
    BadName,
    BadRange,
    ClientError,
    ContentDenied,
    DamselflyError,
    NotAllowed,
    OriginContent,
    OriginCut,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
    OwnLimit,
    RedirectRefused,
)

API_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
STALE = '110 - "Response is Stale"'
"""Warning header of a tag that could not be asked for (RFC 7234, section 5.5.1)."""
PASSED_STATUSES = {
    401: ("UNAUTHORIZED", "log in to the registry, or check the pull secret"),
    403: ("DENIED", "this credential may not read the repository"),
    404: ("NOT_FOUND", "check the name, the tag and the digest"),
}
UNKNOWN_CODES = {"blob": "BLOB_UNKNOWN", "manifest": "MANIFEST_UNKNOWN"}
"""What the specification calls content that is not there: newer clients go to their next source after that."""
ELSEWHERE = "ask the registry itself; containerd does so by its own"

_REFUSALS: dict[type[DamselflyError], tuple[int, str, str]] = {
    BadDigest: (400, "DIGEST_INVALID", "use sha256 or sha512"),
    BadName: (400, "NAME_INVALID", "see the distribution specification for names and paths"),
    BadRange: (416, "RANGE_INVALID", "ask for bytes within the blob"),
    NotAllowed: (403, "DENIED", "see [origin] in the mirror's configuration"),
    ContentDenied: (403, "DENIED", "dfctl denials on the scheduler's machine says why"),
    OriginThrottled: (503, "UNAVAILABLE", "the registry asks clients to wait"),
    OwnLimit: (
        503,
        "UNAVAILABLE",
        "ask the registry itself, or raise its limits in the mirror's configuration",
    ),
    OriginUnreachable: (502, "UNAVAILABLE", ELSEWHERE),
    RedirectRefused: (502, "UNAVAILABLE", f"see [origin] in the mirror's configuration; {ELSEWHERE}"),
    OriginTimeout: (504, "UNAVAILABLE", ELSEWHERE),
    OriginCut: (502, "UNAVAILABLE", ELSEWHERE),
    OriginContent: (502, "UNAVAILABLE", ELSEWHERE),
}


class TooLarge(BadName):
    """A request with more header bytes than the mirror reads."""


class UnknownMethod(ClientError):
    """A method that no registry has: CONNECT, TRACE and such could only do harm."""


class TooManyClients(DamselflyError):
    """More connections than mirror.connections_max."""


@dataclass(frozen=True, slots=True)
class Content:
    """Content about to be sent: what its headers need."""

    registry: str
    digest: Digest
    size: int
    media_type: str
    stale: bool = False

    def headers(self) -> CIMultiDict[str]:
        """Return the headers of the whole content, without Content-Length."""
        headers = CIMultiDict([API_VERSION])
        headers["Content-Type"] = self.media_type or "application/octet-stream"
        headers["Docker-Content-Digest"] = str(self.digest)
        headers["ETag"] = f'"{self.digest}"'
        headers["Accept-Ranges"] = "bytes"
        headers["OCI-Namespace"] = self.registry
        if self.stale:
            headers["Warning"] = STALE
        return headers

    def head(self) -> web.Response:
        """Return the answer to HEAD."""
        headers = self.headers()
        headers["Content-Length"] = str(self.size)
        return web.Response(headers=headers)


def error_answer(error: DamselflyError, kind: str = "") -> web.Response:
    """Return what a client is told of an error: status, challenges, and a document that says what to do.

    `kind`: of what it asked for, where that is known.
    """
    status, code, hint = _refusal(error)
    code = UNKNOWN_CODES.get(kind, code) if status == 404 else code
    response = _document(status, code, str(error), hint)
    if isinstance(error, OriginStatus) and error.status == 401:
        for challenge in error.challenges:
            response.headers.add("WWW-Authenticate", challenge)
    if isinstance(error, OriginThrottled) or (isinstance(error, OwnLimit) and error.retry_after_s > 0):
        response.headers["Retry-After"] = str(max(1, ceil(error.retry_after_s)))
    if isinstance(error, BadRange):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    return response


def fault_answer() -> web.Response:
    """Return what a client is told of a fault of ours."""
    return _document(500, "UNKNOWN", "the mirror made a mistake; its log has it", "please report it")


def _refusal(error: DamselflyError) -> tuple[int, str, str]:
    if isinstance(error, OriginStatus):
        if error.status in PASSED_STATUSES:
            return error.status, *PASSED_STATUSES[error.status]
        return 502, "UNAVAILABLE", ELSEWHERE
    if isinstance(error, UnknownMethod):
        return 405, "UNSUPPORTED", "see the distribution specification for methods"
    for kind in type(error).__mro__:
        if kind in _REFUSALS:
            return _REFUSALS[kind]
    return 503, "UNAVAILABLE", ELSEWHERE


def _document(status: int, code: str, message: str, hint: str) -> web.Response:
    document: dict[str, Any] = {"errors": [{"code": code, "message": message, "detail": hint}]}
    return web.json_response(document, status=status, headers=CIMultiDict([API_VERSION]))
