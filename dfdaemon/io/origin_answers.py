"""What an origin's answer means: its headers judged, its body given out as it comes."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from dfdaemon.hop_headers import is_sendable
from dfdaemon.io.origin_connections import Download
from dfdaemon.io.origin_transport import Answer
from dfdaemon.retry_after import retry_after_s
from swarm.digest import Digest
from swarm.errors import BadDigest, DamselflyError, OriginContent, OriginStatus, OriginThrottled
from swarm.pieces import BLOB_BYTES_MAX

MEDIA_TYPE_CHARS_MAX = 255
"""Longer ones than RFC 6838 allows (127 for each half), with room for parameters."""
PAGES = frozenset({"text/html", "application/xhtml+xml"})
"""Media types of pages for people: no registry and no storage gives content as one, login proxies do."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,15})")


@dataclass(eq=False)
class WrongSize(DamselflyError):
    """The origin's blob has another size than the task."""

    expected: int
    actual: int

    def __str__(self) -> str:
        return f"the origin's blob has {self.actual} bytes, the swarm was told {self.expected}"


@dataclass(frozen=True, slots=True)
class OriginHead:
    """What the origin says of some content. `size` in bytes, -1: unknown; `digest` None: it did not say."""

    size: int
    media_type: str
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class OriginBody:
    """An open answer. `total`: bytes of the whole blob, -1: unknown; `ranged`: it is the range asked for."""

    total: int
    ranged: bool
    media_type: str
    download: Download = field(repr=False)

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the bytes as they come, pieces of any length; raises OriginCut, OriginTimeout, OriginContent."""
        return self.download.chunks()


COMPRESSED = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"})
"""Content codings after which bytes are not what was asked for (the IANA registry, but for what nobody uses)."""


def require(response: Answer, target: str, wanted: tuple[int, ...], wall_s: float) -> None:
    """Raise what an unwanted status means. `wall_s`: wall-clock time, in seconds since 1970."""
    if response.status in wanted:
        return
    wait = response.headers.get("Retry-After")
    if response.status == 429 or (response.status == 503 and wait is not None):
        raise OriginThrottled(response.status, target, retry_after_s(wait, wall_s))
    challenges = tuple(filter(is_sendable, response.headers.getall("WWW-Authenticate", ())))
    raise OriginStatus(response.status, target, challenges)


def head_of(response: Answer, target: str, reference: str) -> OriginHead:
    """Read the headers of a HEAD about a tag or digest; raises OriginContent for a page, which is no registry's yes.

    Some say a length of 0 of all content: it counts for what is empty alone.
    """
    if _is_page(response):
        raise OriginContent(
            f"the origin answered {target} with a page for people ({_media_type(response)}), not with content: "
            "look at what stands before the registry"
        )
    digest = _digest(response.headers.get("Docker-Content-Digest", ""))
    size = _length(response) if _encoding(response) == "identity" else -1
    if size == 0 and not is_empty(digest or _digest(reference)):
        size = -1
    return OriginHead(size, _media_type(response), digest)


def is_empty(digest: Digest | None) -> bool:
    """Tell whether a digest is that of no bytes at all."""
    return digest is not None and digest == Digest.of(b"", digest.algorithm)


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except BadDigest:
        return None


def proves_access(response: Answer, elsewhere: bool) -> bool:
    """Tell whether a 200 that a redirect led to means that the registry said yes; `elsewhere`: at another origin.

    A proxy in front of a registry redirects strangers to its login page. At its own origin only what a registry says
    of content tells that from an answer of the registry's.
    """
    return not _is_page(response) and (elsewhere or "Docker-Content-Digest" in response.headers)


def head_of_part(response: Answer, target: str, reference: str, trusted: bool) -> OriginHead:
    """Read the headers of the answer to a GET of the first byte of a tag or digest: 200, 206 or 416.

    `trusted`: no redirect led to it, or one to another origin. Raises OriginStatus when it is a page and no content,
    OriginContent when it is not what was asked for.
    """
    if _is_page(response) or (response.status == 200 and not proves_access(response, trusted)):
        raise OriginStatus(403, f"{target}, in effect: it redirects to a page, not to the content")
    if response.status == 200:
        return head_of(response, target, reference)
    text = response.headers.get("Content-Range", "")
    part, beyond = _CONTENT_RANGE.fullmatch(text), _UNSATISFIED.fullmatch(text)
    if response.status == 206 and part is not None and part[1] == "0":
        known = part[3] != "*" and _encoding(response) == "identity"
        return OriginHead(int(part[3]) if known else -1, "", None)
    if response.status == 416 and beyond is not None and int(beyond[1]) == 0:
        return OriginHead(0 if is_empty(_digest(reference)) else -1, "", None)
    raise OriginContent(f"the origin answered {response.status} with Content-Range {text[:80]!r} to {target}")


def body_of(response: Download, target: str, start: int, end: int | None, manifest: bool) -> OriginBody:
    """Judge the headers of a body; raises OriginContent when they are not what was asked for.

    A registry behind a proxy that compresses texts sends manifests with gzip, whatever it was asked: that is undone.
    A range that lies beyond the blob gives an empty body, and what its size is.
    """
    encoding, media_type = _encoding(response), _media_type(response)
    coded = manifest and encoding in ("gzip", "x-gzip", "deflate") and response.status == 200
    if encoding != "identity" and not coded:
        raise OriginContent(
            f"the origin sent {target} with Content-Encoding {encoding[:40]!r}, identity was asked for"
        )
    if coded:
        response.inflate()
    if response.status == 200:
        return OriginBody(-1 if coded else _length(response), False, media_type, response)
    text = response.headers.get("Content-Range", "")
    beyond = _UNSATISFIED.fullmatch(text)
    if response.status == 416 and beyond is not None:
        return OriginBody(_total(beyond[1], target), True, "", response)
    found = _CONTENT_RANGE.fullmatch(text)
    if found is None:
        raise OriginContent(
            f"the origin answered {response.status} to {target} with the malformed Content-Range {text[:80]!r}"
        )
    first, last = int(found[1]), int(found[2])
    total = -1 if found[3] == "*" else _total(found[3], target)
    wanted = last + 1 if end is None else end
    if first != start or last + 1 != (wanted if total < 0 else min(wanted, total)):
        raise OriginContent(f"the origin answered {text[:80]!r} to {target} for bytes {start} to {end}")
    return OriginBody(total, True, media_type, response)


def _total(text: str, target: str) -> int:
    """Return the size of a blob as a Content-Range tells it; raises OriginContent for what no blob has."""
    total = int(text)
    if total > BLOB_BYTES_MAX:
        raise OriginContent(f"the origin says that {target} has {total} bytes, more than any blob may have")
    return total


def _media_type(response: Answer) -> str:
    """Return the media type, empty for what is none: clients would be sent it as it came."""
    text = response.headers.get("Content-Type", "")
    return text if len(text) <= MEDIA_TYPE_CHARS_MAX and text.isascii() and text.isprintable() else ""


def _is_page(response: Answer) -> bool:
    return _media_type(response).partition(";")[0].strip().lower() in PAGES


def _encoding(response: Answer) -> str:
    """Return how a body is compressed. Storages repeat whatever a blob was uploaded with: its digest tells."""
    said = response.headers.get("Content-Encoding", "").strip().lower()
    return said if any(coding.strip() in COMPRESSED for coding in said.split(",")) else "identity"


def _length(response: Answer) -> int:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and len(text) <= 15 and int(text) <= BLOB_BYTES_MAX else -1
