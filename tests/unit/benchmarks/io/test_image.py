"""Generated images: valid, reproducible, incompressible."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from benchmarks.io.image import BUSYBOX, MEDIA_INDEX, Image, blob_path, generate_image, load_image


def make(directory: Path, **options: int | bool) -> Image:
    return generate_image(directory, "test/img", "v1", [3_000_000, 700], **options)  # type: ignore[arg-type]


def blob(image: Image, digest: str) -> bytes:
    return blob_path(image.directory, digest).read_bytes()


def test_every_blob_has_the_digest_and_size_it_is_called(tmp_path: Path) -> None:
    image = make(tmp_path)
    for digest, size in image.blobs:
        body = blob(image, digest)
        assert "sha256:" + hashlib.sha256(body).hexdigest() == digest
        assert len(body) == size
    assert image.total_bytes == sum(size for _, size in image.blobs)


def test_the_config_lists_the_digests_of_the_unpacked_layers(tmp_path: Path) -> None:
    image = make(tmp_path)
    unpacked = [gzip.decompress(blob(image, digest)) for digest, _ in image.layers]
    expected = ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in unpacked]
    assert json.loads(blob(image, image.config.digest))["rootfs"]["diff_ids"] == expected


def test_a_layer_is_a_tar_with_one_file_of_the_asked_size(tmp_path: Path) -> None:
    image = make(tmp_path)
    for number, (digest, _) in enumerate(image.layers):
        with tarfile.open(fileobj=io.BytesIO(blob(image, digest))) as tar:
            assert [(m.name, m.size) for m in tar] == [(f"data/layer-{number}.bin", [3_000_000, 700][number])]


def test_a_layer_cannot_be_compressed(tmp_path: Path) -> None:
    image = make(tmp_path)
    body = blob(image, image.layers[0].digest)
    assert len(gzip.compress(body, 6)) > 0.999 * len(body)


def test_the_same_seed_gives_the_same_image_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = make(tmp_path / "1"), make(tmp_path / "2"), make(tmp_path / "3", seed=1)
    assert first.root_digest == again.root_digest
    assert not {layer.digest for layer in first.layers} & {layer.digest for layer in other.layers}


def test_an_index_can_stand_before_the_manifest(tmp_path: Path) -> None:
    image = make(tmp_path, with_index=True)
    index = json.loads(blob(image, image.root_digest))
    assert index["mediaType"] == MEDIA_INDEX
    assert [entry["digest"] for entry in index["manifests"]] == [image.manifest_digest]


def test_an_image_without_index_is_named_by_its_manifest(tmp_path: Path) -> None:
    image = make(tmp_path)
    assert image.root_digest == image.manifest_digest


def test_a_layout_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    image = make(tmp_path)
    assert load_image(tmp_path) == image
    assert (image.name, image.tag, image.directory) == ("test/img", "v1", tmp_path)


def test_a_layout_of_another_tool_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"manifests": [{"digest": "sha256:00", "mediaType": "x"}]}')
    with pytest.raises(ValueError, match="not one of ours"):
        load_image(tmp_path)


@pytest.mark.needs("busybox-static")
def test_a_runnable_image_begins_with_a_static_busybox(tmp_path: Path) -> None:
    image = make(tmp_path, runnable=True)
    assert len(image.layers) == 3
    with tarfile.open(fileobj=io.BytesIO(blob(image, image.layers[0].digest))) as tar:
        assert tar.getmember("bin/sh").linkname == "busybox"
        program = tar.extractfile("bin/busybox")
        assert program is not None
        assert program.read() == BUSYBOX.read_bytes()
