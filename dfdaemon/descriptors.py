"""What a manifest says of other content (OCI image specification, manifest.md and image-index.md).

An accepted manifest proves that the blobs it lists belong to its repository: registries check it at the push. They
do not check foreign layers, nor always the manifests of an index: of these only the size is learned.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from swarm.digest import Digest
from swarm.errors import BadDigest
from swarm.pieces import BLOB_BYTES_MAX

MANIFEST_BYTES_MAX = 4 << 20
"""What registries accept as a manifest (distribution specification, "Pushing Manifests")."""
DESCRIPTORS_MAX = 10_000
"""More layers than any image has; an index may list some hundred platforms."""
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Content that a manifest lists. `proven`: it belongs to the manifest's repository."""

    digest: Digest
    size: int
    media_type: str
    kind: Literal["blob", "manifest"]
    proven: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index as far as a mirror needs it."""

    media_type: str
    descriptors: tuple[Descriptor, ...]


def read_manifest(body: bytes) -> Manifest:
    """Read a manifest; what is not one has no media type and no descriptors."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return Manifest("", ())
    if not isinstance(document, dict):
        return Manifest("", ())
    blobs = [document.get("config"), *_items(document, "layers"), *_items(document, "blobs")]
    found = [_descriptor(entry, "blob") for entry in blobs[:DESCRIPTORS_MAX]]
    found += [_descriptor(entry, "manifest") for entry in _items(document, "manifests")[:DESCRIPTORS_MAX]]
    return Manifest(_media_type(document), tuple(entry for entry in found if entry is not None))


def _items(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []


def _media_type(document: dict[str, Any]) -> str:
    named = document.get("mediaType")
    if isinstance(named, str) and named.isascii() and named.isprintable() and len(named) <= 255:
        return named
    if "manifests" in document:
        return INDEX
    return MANIFEST if "layers" in document else ""


def _descriptor(entry: Any, kind: Literal["blob", "manifest"]) -> Descriptor | None:
    if not isinstance(entry, dict):
        return None
    size, media_type = entry.get("size"), entry.get("mediaType")
    if not isinstance(size, int) or not 0 <= size <= BLOB_BYTES_MAX or not isinstance(media_type, str):
        return None
    try:
        digest = Digest.parse(str(entry.get("digest")))
    except BadDigest:
        return None
    foreign = "urls" in entry or "foreign" in media_type or "nondistributable" in media_type
    return Descriptor(digest, size, media_type[:255], kind, kind == "blob" and not foreign)
