"""What a manifest says of other content (OCI image specification, manifest.md and image-index.md).

An accepted image manifest proves that its configuration and layers belong to its repository: registries check it at
the push. They check no foreign layers, not always the manifests of an index (of these only the size is learned), and
nothing that the type they took it as does not have. So it is read as what the registry calls it, not as what it says
it is, and only if every reader of JSON finds the same in it: Go's, which most registries use, takes `Layers` for
`layers`, and of both the last.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from swarm.digest import Digest
from swarm.errors import BadDigest
from swarm.pieces import BLOB_BYTES_MAX

MANIFEST_BYTES_MAX = 4 << 20
"""What registries accept as a manifest (distribution specification, "Pushing Manifests")."""
MEDIA_TYPE_CHARS_MAX = 255
"""As long as one in an origin's Content-Type."""
DESCRIPTORS_MAX = 10_000
"""More layers than any image has; an index may list some hundred platforms."""
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_TYPES = frozenset({MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"})
INDEX_TYPES = frozenset({INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"})
_KEYS = ("mediaType", "config", "layers", "manifests", "digest", "size", "urls")
_SPELLING = {key.casefold(): key for key in _KEYS}

Kind = Literal["blob", "manifest"]
KINDS: tuple[Kind, ...] = ("blob", "manifest")
"""Where a registry has some content: under /blobs/ or /manifests/. It may refuse there what it has in the other."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Content that a manifest lists. `proven`: it belongs to the manifest's repository."""

    digest: Digest
    size: int
    media_type: str
    kind: Kind
    proven: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index as far as a mirror needs it. `media_type`: what it says it is."""

    media_type: str
    descriptors: tuple[Descriptor, ...]


def read_manifest(body: bytes, told: str) -> Manifest:
    """Read a manifest that its registry took as of the media type `told`; empty: not known, so it lists nothing.

    What is not one has no media type and no descriptors.
    """
    try:
        document = json.loads(body, object_pairs_hook=_plain_object)
    except (ValueError, RecursionError):
        return Manifest("", ())
    if not isinstance(document, dict):
        return Manifest("", ())
    found = (_descriptor(entry, kind) for entry, kind in _listed(document, told)[:DESCRIPTORS_MAX])
    return Manifest(_media_type(document), tuple(entry for entry in found if entry is not None))


def _plain_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raises ValueError where another reader could find something else under a key of ours."""
    ours = [key for key, _ in pairs if key.casefold() in _SPELLING]
    if len(set(ours)) < len(ours) or any(key != _SPELLING[key.casefold()] for key in ours):
        raise ValueError("a key is there twice, or in another spelling")
    return dict(pairs)


def _listed(document: dict[str, Any], told: str) -> list[tuple[Any, Kind]]:
    """Return the entries that a document of this type has."""
    name = told.partition(";")[0].strip().lower()
    if name in IMAGE_TYPES:
        return [(entry, "blob") for entry in (document.get("config"), *_items(document, "layers"))]
    if name in INDEX_TYPES:
        return [(entry, "manifest") for entry in _items(document, "manifests")]
    return []


def _items(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []


def _media_type(document: dict[str, Any]) -> str:
    named = document.get("mediaType")
    if _is_sendable(named):
        return named
    if "manifests" in document:
        return INDEX
    return MANIFEST if "layers" in document else ""


def _is_sendable(media_type: Any) -> TypeGuard[str]:
    """Tell whether this can be a Content-Type: clients are sent it as it is."""
    if not isinstance(media_type, str) or len(media_type) > MEDIA_TYPE_CHARS_MAX:
        return False
    return media_type.isascii() and media_type.isprintable()


def _descriptor(entry: Any, kind: Kind) -> Descriptor | None:
    if not isinstance(entry, dict):
        return None
    size, media_type = entry.get("size"), entry.get("mediaType")
    if not isinstance(size, int) or not 0 <= size <= BLOB_BYTES_MAX or not _is_sendable(media_type):
        return None
    try:
        digest = Digest.parse(str(entry.get("digest")))
    except BadDigest:
        return None
    foreign = "urls" in entry or "foreign" in media_type or "nondistributable" in media_type
    return Descriptor(digest, size, media_type, kind, kind == "blob" and not foreign)
