"""Which registry, repository and content a request to the mirror means, and how the origin wants to be asked.

The registry is, in this order: the query's `ns` (containerd, BuildKit), the header OCI-Namespace, a first path
component with a dot, a colon or `localhost` (CRI-O, podman), the listener's default (Docker). Grammar: OCI
distribution specification, "Pulling manifests".
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, unquote_plus

from dfdaemon.endpoints import DOCKER_HUB
from swarm.digest import Digest
from swarm.errors import BadName

URL_CHARS_MAX = 8192
"""Signed upload addresses are the longest that clients send, below 4 KiB."""
NAME_CHARS_MAX = 255
"""Longest repository name that registries take."""
LIBRARY = "library/"
"""Where Docker Hub keeps images whose name has one word."""

REGISTRY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
REGISTRY_CHARS_MAX = 255
"""A name of the DNS has 253 at most; hosts tell each other no longer ones."""
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_API = re.compile(
    r"(?P<repository>.+)/"
    r"(?:(?P<kind>manifests|blobs)/(?P<reference>[^/]+)"
    r"|(?P<rest>blobs/uploads/[^/]*|tags/list|referrers/[^/]+))"
)
_SAFE_PATH = re.compile(r"/(?:[A-Za-z0-9._~:@!$&'()*+,;=/-]|%[0-9A-Fa-f]{2})*")
_HIDDEN = re.compile(r"[\x00-\x20/\\%?#\x7f-\U0010ffff]")
"""Characters that a percent sign may not hide: they would mean another path to somebody on the way."""

Kind = Literal["ping", "manifest", "blob", "other"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request means. `digest` is set where `reference` is one; `path` is the origin's, with its query."""

    kind: Kind
    registry: str
    path: str
    repository: str = ""
    reference: str = ""
    digest: Digest | None = None


def resolve(raw_path: str, namespace: str | None, default_registry: str) -> Wanted:
    """Read a request's path and query as they came; `namespace` is the header. Raises BadName, BadDigest."""
    if len(raw_path) > URL_CHARS_MAX:
        raise BadName("the address", f"it may have {URL_CHARS_MAX} characters")
    raw_path, _, query = raw_path.partition("?")
    path = _checked_path(raw_path)
    named, query = _split_query(query)
    named = namespace if named is None else named
    if path in ("/v2", "/v2/"):
        return (
            Wanted("ping", default_registry, path)
            if named is None
            else Wanted("other", _registry(named), path)
        )
    if not path.startswith("/v2/"):
        if named is None:
            raise BadName(path[:80], "expected a path under /v2/")
        return Wanted("other", _registry(named), raw_path + query)
    registry, rest = _split_registry(path.removeprefix("/v2/"), named, default_registry)
    return _api(registry, rest, query)


def _checked_path(raw_path: str) -> str:
    """Return the path with percent signs resolved; raises BadName on anything that could mean another path."""
    shown = raw_path[:80] if raw_path.startswith("/") else "the address"
    if not _SAFE_PATH.fullmatch(raw_path):
        raise BadName(shown, "a path has letters, digits and -._~:@!$&'()*+,;= between slashes")
    for code in re.findall("(?:%[0-9A-Fa-f]{2})+", raw_path):
        if _HIDDEN.search(unquote(code, errors="replace")):
            raise BadName(shown, f"{code[:12]} may not be hidden in a path")
    path = unquote(raw_path)
    parts = path[1:].split("/")
    if any(part in (".", "..") for part in parts) or "" in parts[:-1]:
        raise BadName(shown, "empty components, . and .. are not allowed in a path")
    return path


def _split_query(query: str) -> tuple[str | None, str]:
    """Return the value of `ns` and the query without it, with its question mark."""
    values: set[str] = set()
    kept: list[str] = []
    for part in query.split("&") if query else ():
        key, _, value = part.partition("=")
        if unquote_plus(key) == "ns":
            values.add(unquote_plus(value))
        else:
            kept.append(part)
    if len(values) > 1:
        raise BadName("ns", "a request names one registry")
    rest = "?" + "&".join(kept) if kept else ""
    return (values.pop() if values else None), rest


def _registry(text: str) -> str:
    name = text.lower()
    if not REGISTRY.fullmatch(name) or len(name) > REGISTRY_CHARS_MAX:
        raise BadName(text[:80], "a registry is host or host:port")
    return name


def _split_registry(rest: str, named: str | None, default_registry: str) -> tuple[str, str]:
    if named is not None:
        return _registry(named), rest
    first, slash, behind = rest.partition("/")
    if slash and behind and ("." in first or ":" in first or first == "localhost"):
        return _registry(first), behind
    return default_registry, rest


def _api(registry: str, rest: str, query: str) -> Wanted:
    found = _API.fullmatch(rest)
    if found is None:
        return Wanted("other", registry, f"/v2/{rest}{query}")
    repository = found["repository"]
    if registry == DOCKER_HUB and "/" not in repository:
        repository = LIBRARY + repository
    if len(repository) > NAME_CHARS_MAX or not REPOSITORY.fullmatch(repository):
        raise BadName(repository[:80], "a repository has lower-case words between slashes")
    kind, reference = found["kind"], found["reference"]
    if kind is None or (kind == "blobs" and reference == "uploads"):
        tail = found["rest"] or "blobs/uploads"
        return Wanted("other", registry, f"/v2/{repository}/{tail}{query}", repository)
    path = f"/v2/{repository}/{kind}/{reference}{query}"
    if kind == "blobs":
        return Wanted("blob", registry, path, repository, reference, Digest.parse(reference))
    if ":" in reference:
        return Wanted("manifest", registry, path, repository, reference, Digest.parse(reference))
    if not TAG.fullmatch(reference):
        raise BadName(reference[:80], "a tag has up to 128 letters, digits, dots, dashes and underscores")
    return Wanted("manifest", registry, path, repository, reference)
