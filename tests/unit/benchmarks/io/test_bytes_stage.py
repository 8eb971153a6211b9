"""The blobs that byte paths are measured with."""

import hashlib
from pathlib import Path

from benchmarks.io.bytes_stage import BLOCK_BYTES, REPOSITORY, make_blob


def test_a_blob_lies_where_a_registry_has_it_and_has_its_digest(tmp_path: Path) -> None:
    size = 2 * BLOCK_BYTES + 5
    blob = make_blob(tmp_path, size)
    content = blob.file.read_bytes()
    assert blob.file == tmp_path / f"v2/{REPOSITORY}/blobs/{blob.digest}"
    assert len(content) == blob.pieces.size == size
    assert hashlib.sha256(content).hexdigest() == blob.digest.hex
    assert content[:BLOCK_BYTES] != content[BLOCK_BYTES : 2 * BLOCK_BYTES]
