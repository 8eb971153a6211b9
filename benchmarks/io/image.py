"""Container images made from nothing: OCI layouts whose layers are incompressible, valid, reproducible.

A layer is a tar of one random file inside a gzip of stored blocks, so that its size is known, no tool can
shrink it, and writing 300 MB takes about a second and a few megabytes of memory. The same arguments give the
same bytes. Formats: OCI image-spec 1.0, image-layout.md, manifest.md, config.md.
"""

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import blake3

MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

ANNOTATION_TAG = "org.opencontainers.image.ref.name"
ANNOTATION_NAME = "dev.damselfly.repository"

BUSYBOX = Path("/bin/busybox")
CHUNK_BYTES = 1 << 20  # what one layer under construction holds in memory
LAYERS_AT_ONCE_MAX = 4  # hashing releases the GIL: more threads than cores help nobody
GZIP_STORED = 0  # a compression level: random bytes cannot shrink
GZIP_FAST = 1  # and the level for programs
GZIP_WINDOW_BITS = 31  # 15 bits of window, and 16 for a gzip header (zlib's manual, deflateInit2)


class BlobInfo(NamedTuple):
    """A blob's name and size."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image on disk.

    `root_digest` is what the tag names: an index if the image was made with one, otherwise the manifest
    itself. `total_bytes` counts the layers and the config, the blobs that a pull fetches besides manifests.
    """

    name: str
    tag: str
    root_digest: str
    manifest_digest: str
    layers: tuple[BlobInfo, ...]
    config: BlobInfo
    total_bytes: int
    directory: Path

    @property
    def blobs(self) -> tuple[BlobInfo, ...]:
        """The config and all layers: each blob of a pull."""
        return (self.config, *self.layers)


@dataclass(frozen=True, slots=True)
class _Layer:
    blob: BlobInfo
    diff_id: str


class _LayerFile:
    """Takes the bytes of a tar, writes them gzipped, and hashes both forms on the way."""

    def __init__(self, file: BinaryIO, level: int) -> None:
        self._file = file
        self._gzip = zlib.compressobj(level, wbits=GZIP_WINDOW_BITS)
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        """Take the next bytes of the tar."""
        self._plain.update(data)
        self._put(self._gzip.compress(data))
        return len(data)

    def finish(self) -> _Layer:
        """End the gzip stream and say what the layer is called."""
        self._put(self._gzip.flush())
        blob = BlobInfo("sha256:" + self._packed.hexdigest(), self._size)
        return _Layer(blob, "sha256:" + self._plain.hexdigest())

    def _put(self, packed: bytes) -> None:
        self._packed.update(packed)
        self._size += len(packed)
        self._file.write(packed)


def generate_image(
    directory: Path,
    name: str,
    tag: str,
    layer_bytes: Sequence[int],
    *,
    seed: int = 0,
    runnable: bool = False,
    with_index: bool = False,
) -> Image:
    """Write an image called `name`:`tag` as an OCI layout into `directory`, which is made if need be.

    `layer_bytes` are the sizes of the random files, one a layer; a layer is about 0.01 % and 2 KiB larger.
    `runnable` puts a layer with a static busybox before them (`/bin/sh`, `/bin/echo`); `with_index` lets the
    tag name an index of one platform, as multi-platform images have it. Raises FileNotFoundError without
    busybox.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(LAYERS_AT_ONCE_MAX) as pool:
        first = [_busybox_layer(blobs)] if runnable else []
        jobs = [pool.submit(_random_layer, blobs, seed, number, n) for number, n in enumerate(layer_bytes)]
        layers = first + [job.result() for job in jobs]
    config = _put_json(blobs, _config(layers))
    manifest = _put_json(blobs, _manifest(config, layers))
    root = _descriptor(MEDIA_MANIFEST, manifest) | {"platform": {"architecture": "amd64", "os": "linux"}}
    if with_index:
        index = _put_json(blobs, {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": [root]})
        root = _descriptor(MEDIA_INDEX, index)
    root["annotations"] = {ANNOTATION_TAG: tag, ANNOTATION_NAME: name}
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_bytes(_canonical({"schemaVersion": 2, "manifests": [root]}))
    return load_image(directory)


def load_image(directory: Path) -> Image:
    """Read back what `generate_image` wrote. Raises ValueError if the layout is another's."""
    index = json.loads((directory / "index.json").read_bytes())
    root = index["manifests"][0]
    annotations = root.get("annotations", {})
    if ANNOTATION_NAME not in annotations:
        raise ValueError(f"{directory} is an OCI layout without {ANNOTATION_NAME}: not one of ours")
    manifest_digest = root["digest"]
    if root["mediaType"] == MEDIA_INDEX:
        manifest_digest = _read_json(directory, root["digest"])["manifests"][0]["digest"]
    manifest = _read_json(directory, manifest_digest)
    layers = tuple(_blob_info(layer) for layer in manifest["layers"])
    config = _blob_info(manifest["config"])
    return Image(
        name=annotations[ANNOTATION_NAME],
        tag=annotations[ANNOTATION_TAG],
        root_digest=root["digest"],
        manifest_digest=manifest_digest,
        layers=layers,
        config=config,
        total_bytes=config.size + sum(layer.size for layer in layers),
        directory=directory,
    )


def blob_path(directory: Path, digest: str) -> Path:
    """Where a layout keeps the blob (OCI image-layout.md)."""
    algorithm, _, encoded = digest.partition(":")
    return directory / "blobs" / algorithm / encoded


def _random_layer(blobs: Path, seed: int, number: int, size: int) -> _Layer:
    unnamed = blobs / f".layer-{number}"
    with unnamed.open("wb") as file:
        layer = _LayerFile(file, GZIP_STORED)
        layer.write(_tar_header(f"data/layer-{number}.bin", size))
        for chunk in _random_chunks(f"{seed}/{number}", size):
            layer.write(chunk)
        layer.write(_tar_end(size))
        done = layer.finish()
    return _named(unnamed, blobs, done)


def _busybox_layer(blobs: Path) -> _Layer:
    unnamed = blobs / ".layer-busybox"
    with unnamed.open("wb") as file:
        layer = _LayerFile(file, GZIP_FAST)
        # A _LayerFile has the one method that tarfile needs to write a stream.
        with tarfile.open(mode="w|", fileobj=cast(Any, layer), format=tarfile.USTAR_FORMAT) as tar:
            _add_program(tar, BUSYBOX.read_bytes())
        done = layer.finish()
    return _named(unnamed, blobs, done)


def _add_program(tar: tarfile.TarFile, program: bytes) -> None:
    entry = tarfile.TarInfo("bin/busybox")
    entry.size, entry.mode = len(program), 0o755
    tar.addfile(entry, io.BytesIO(program))
    for applet in ("sh", "echo"):
        link = tarfile.TarInfo(f"bin/{applet}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)


def _named(unnamed: Path, blobs: Path, layer: _Layer) -> _Layer:
    unnamed.rename(blobs / layer.blob.digest.removeprefix("sha256:"))
    return layer


def _random_chunks(key: str, size: int) -> Iterator[bytes]:
    """BLAKE3 as a stream of `size` random bytes that any key repeats: 5 GB/s, and it runs outside the GIL."""
    stream = blake3.blake3(key.encode())
    for start in range(0, size, CHUNK_BYTES):
        yield stream.digest(length=min(CHUNK_BYTES, size - start), seek=start)


def _tar_header(path: str, size: int) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _tar_end(size: int) -> bytes:
    """Fill the file's last block, then the two empty blocks that end a tar."""
    return bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _config(layers: Sequence[_Layer]) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }


def _manifest(config: BlobInfo, layers: Sequence[_Layer]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "config": _descriptor(MEDIA_CONFIG, config),
        "layers": [_descriptor(MEDIA_LAYER, layer.blob) for layer in layers],
    }


def _descriptor(media_type: str, blob: BlobInfo) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _blob_info(descriptor: dict[str, Any]) -> BlobInfo:
    return BlobInfo(descriptor["digest"], descriptor["size"])


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _put_json(blobs: Path, document: dict[str, Any]) -> BlobInfo:
    body = _canonical(document)
    name = hashlib.sha256(body).hexdigest()
    (blobs / name).write_bytes(body)
    return BlobInfo("sha256:" + name, len(body))


def _read_json(directory: Path, digest: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(blob_path(directory, digest).read_bytes())
    return document
