"""What manifests list."""

import json
from typing import Any

import pytest

from dfdaemon.descriptors import INDEX, MANIFEST, Manifest, read_manifest
from swarm.digest import Digest

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def entry(content: bytes, media_type: str = LAYER, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def test_an_image() -> None:
    document = {
        "mediaType": MANIFEST,
        "config": entry(b"c", "x/config"),
        "layers": [entry(b"one"), entry(b"two!")],
    }
    manifest = read_manifest(json.dumps(document).encode(), MANIFEST)
    assert manifest.media_type == MANIFEST
    assert [(found.digest, found.size) for found in manifest.descriptors] == [
        (Digest.of(b"c"), 1),
        (Digest.of(b"one"), 3),
        (Digest.of(b"two!"), 4),
    ]
    assert {(found.kind, found.proven) for found in manifest.descriptors} == {("blob", True)}


def test_an_index_proves_nothing_of_its_manifests() -> None:
    manifest = read_manifest(json.dumps({"manifests": [entry(b"m", MANIFEST)]}).encode(), INDEX)
    assert manifest.media_type == INDEX
    (child,) = manifest.descriptors
    assert (child.kind, child.size, child.media_type, child.proven) == ("manifest", 1, MANIFEST, False)


@pytest.mark.parametrize(
    "layer",
    [
        entry(b"f", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        entry(b"f", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
        entry(b"f", urls=["https://elsewhere/f"]),
    ],
)
def test_registries_do_not_check_foreign_layers(layer: dict[str, Any]) -> None:
    manifest = read_manifest(json.dumps({"layers": [layer]}).encode(), MANIFEST)
    assert manifest.media_type == MANIFEST
    assert [found.proven for found in manifest.descriptors] == [False]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"1",
        b"null",
        b"{",
        b"[" * 100_000,
        b'{"layers": 7, "config": [], "mediaType": "a\\nb"}',
    ],
)
def test_what_is_not_a_manifest(body: bytes) -> None:
    assert read_manifest(body, MANIFEST).descriptors == ()


@pytest.mark.parametrize(
    "layer",
    [
        None,
        7,
        {},
        entry(b"a") | {"size": -1},
        entry(b"a") | {"size": "1"},
        entry(b"a") | {"size": 1 << 60},
        entry(b"a") | {"digest": "md5:x"},
        entry(b"a") | {"digest": None},
        entry(b"a") | {"mediaType": 1},
        entry(b"a", "a/b\r\nX: y"),
        entry(b"a", "a/\u00e4"),
        entry(b"a", "a/" + "b" * 254),
    ],
)
def test_a_malformed_descriptor_is_left_out(layer: Any) -> None:
    found = read_manifest(json.dumps({"mediaType": "a/b", "layers": [layer, entry(b"b")]}).encode(), MANIFEST)
    assert [descriptor.digest for descriptor in found.descriptors] == [Digest.of(b"b")]


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        (MANIFEST, {"blob"}),
        ("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8", {"blob"}),
        (INDEX.upper(), {"manifest"}),
        ("application/vnd.docker.distribution.manifest.list.v2+json", {"manifest"}),
        ("application/vnd.oci.artifact.manifest.v1+json", set()),
        ("application/json", set()),
        ("", set()),
    ],
)
def test_it_is_read_as_what_the_registry_took_it_as(told: str, kinds: set[str]) -> None:
    lists: dict[str, Any] = {key: [entry(key.encode())] for key in ("layers", "blobs", "manifests")}
    manifest = read_manifest(json.dumps({"mediaType": "a/b", "config": entry(b"c"), **lists}).encode(), told)
    assert manifest.media_type == "a/b"
    assert {found.kind for found in manifest.descriptors} == kinds
    assert Digest.of(b"blobs") not in {found.digest for found in manifest.descriptors}


@pytest.mark.parametrize(
    "more",
    [
        b'"Layers": []',
        b'"layers": []',
        '"layer\u017f": []'.encode(),
        b'"layer\\u017f": []',
        b'"Config": {}',
        b'"annotations": {"URLS": "x"}',
    ],
)
def test_a_document_that_readers_may_read_in_two_ways_lists_nothing(more: bytes) -> None:
    layers = json.dumps([entry(b"a")]).encode()
    assert read_manifest(b'{"layers": %s}' % layers, MANIFEST).descriptors
    assert read_manifest(b'{"layers": %s, %s}' % (layers, more), MANIFEST) == Manifest("", ())


def test_an_empty_document() -> None:
    assert read_manifest(b"{}", MANIFEST) == Manifest("", ())
