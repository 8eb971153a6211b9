"""What the origin registry holds: repositories with tags, manifests and blobs, as files of OCI layouts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.io.image import MEDIA_INDEX, Image, blob_path


@dataclass(frozen=True, slots=True)
class Content:
    """A manifest or a blob."""

    digest: str
    size: int
    path: Path
    media_type: str


@dataclass(slots=True)
class Repository:
    """The content of one name. A digest is found only in the repository that it belongs to."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, Content] = field(default_factory=dict)
    blobs: dict[str, Content] = field(default_factory=dict)

    def manifest(self, reference: str) -> Content | None:
        """By tag or by digest."""
        return self.manifests.get(self.tags.get(reference, reference))


class Catalog:
    """All repositories of a registry."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}

    def add(self, image: Image) -> None:
        """Take in an image; a tag that exists moves to it."""
        repository = self.repositories.setdefault(image.name, Repository())
        self._add_manifest(repository, image.directory, image.root_digest)
        repository.tags[image.tag] = image.root_digest

    def repository(self, name: str) -> Repository:
        """The repository, or an empty one."""
        return self.repositories.get(name) or Repository()

    def _add_manifest(self, repository: Repository, directory: Path, digest: str) -> None:
        document = json.loads(blob_path(directory, digest).read_bytes())
        repository.manifests[digest] = _content(directory, digest, document["mediaType"])
        if document["mediaType"] == MEDIA_INDEX:
            for child in document["manifests"]:
                self._add_manifest(repository, directory, child["digest"])
            return
        for descriptor in (document["config"], *document["layers"]):
            repository.blobs[descriptor["digest"]] = _blob(directory, descriptor)


def _blob(directory: Path, descriptor: Mapping[str, Any]) -> Content:
    return _content(directory, descriptor["digest"], "application/octet-stream")


def _content(directory: Path, digest: str, media_type: str) -> Content:
    path = blob_path(directory, digest)
    return Content(digest, path.stat().st_size, path, media_type)
