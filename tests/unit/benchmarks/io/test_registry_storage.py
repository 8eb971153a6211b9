"""An image in the storage of a registry, as a push would leave it."""

from pathlib import Path

from benchmarks.io.image import generate_image
from benchmarks.io.registry_storage import place


def test_all_blobs_and_links_are_there(tmp_path: Path) -> None:
    image = generate_image(tmp_path / "image", "a/b", "v1", [1000, 2000])
    place(tmp_path / "storage", image)
    root = tmp_path / "storage/docker/registry/v2"
    for digest, size in image.blobs:
        encoded = digest.removeprefix("sha256:")
        assert (root / "blobs/sha256" / encoded[:2] / encoded / "data").stat().st_size == size
        assert (root / "repositories/a/b/_layers/sha256" / encoded / "link").read_text() == digest
    tag = root / "repositories/a/b/_manifests/tags/v1/current/link"
    assert tag.read_text() == image.root_digest


def test_an_image_may_be_placed_twice(tmp_path: Path) -> None:
    image = generate_image(tmp_path / "image", "a/b", "v1", [1000])
    for _ in range(2):
        place(tmp_path / "storage", image)
