"""Puts an image into the storage of a docker-registry as a push would, by hard links: a millisecond, not seconds."""

import os
import shutil
from pathlib import Path

from benchmarks.io.image import Image, blob_path


def place(storage: Path, image: Image) -> None:
    """Put an image into a storage folder (distribution's `filesystem` driver)."""
    root = storage / "docker/registry/v2"
    repository = root / "repositories" / image.name
    for manifest in {image.root_digest, image.manifest_digest}:
        _store(root, image, manifest)
        _link(repository / "_manifests/revisions", manifest)
    for digest, _ in image.blobs:
        _store(root, image, digest)
        _link(repository / "_layers", digest)
    tag = repository / "_manifests/tags" / image.tag
    _link(tag / "index", image.root_digest)
    (tag / "current").mkdir(parents=True, exist_ok=True)
    (tag / "current/link").write_text(image.root_digest)


def _store(root: Path, image: Image, digest: str) -> None:
    encoded = digest.removeprefix("sha256:")
    data = root / "blobs/sha256" / encoded[:2] / encoded / "data"
    if not data.exists():
        data.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(blob_path(image.directory, digest), data)
        except OSError:  # another file system
            shutil.copyfile(blob_path(image.directory, digest), data)


def _link(directory: Path, digest: str) -> None:
    link = directory / "sha256" / digest.removeprefix("sha256:") / "link"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.write_text(digest)
