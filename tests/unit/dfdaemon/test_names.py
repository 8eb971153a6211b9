"""Which registry, repository and content an address means."""

import pytest

from dfdaemon.names import URL_CHARS_MAX, Wanted, resolve
from swarm.digest import Digest
from swarm.errors import BadDigest, BadName

HEX = "a" * 64
DIGEST = Digest("sha256", HEX)


def wanted(raw_path: str, namespace: str | None = None) -> Wanted:
    return resolve(raw_path, namespace, "docker.io")


@pytest.mark.parametrize(
    ("raw_path", "namespace", "registry", "repository"),
    [
        ("/v2/library/a/manifests/v1?ns=docker.io", None, "docker.io", "library/a"),
        ("/v2/a/manifests/v1?ns=ghcr.io", None, "ghcr.io", "a"),
        ("/v2/a/manifests/v1?ns=Registry.Local%3A5000", None, "registry.local:5000", "a"),
        ("/v2/a/manifests/v1?ns=[::1]:5000", None, "[::1]:5000", "a"),
        ("/v2/a/b/manifests/v1?ns=x.io", "y.io", "x.io", "a/b"),
        ("/v2/a/b/manifests/v1", "y.io", "y.io", "a/b"),
        ("/v2/x.io/a/b/manifests/v1?ns=y.io", None, "y.io", "x.io/a/b"),
        ("/v2/x.io/a/b/manifests/v1", None, "x.io", "a/b"),
        ("/v2/localhost/a/manifests/v1", None, "localhost", "a"),
        ("/v2/host:5000/a/manifests/v1", None, "host:5000", "a"),
        ("/v2/host%3A5000/a/manifests/v1", None, "host:5000", "a"),
        ("/v2/docker.io/busybox/manifests/v1", None, "docker.io", "library/busybox"),
        ("/v2/busybox/manifests/v1", None, "docker.io", "library/busybox"),
        ("/v2/me/app/manifests/v1", None, "docker.io", "me/app"),
        ("/v2/a/blobs/b/manifests/v1", None, "docker.io", "a/blobs/b"),
    ],
)
def test_registry_and_repository(
    raw_path: str, namespace: str | None, registry: str, repository: str
) -> None:
    found = wanted(raw_path, namespace)
    assert (found.kind, found.registry, found.repository) == ("manifest", registry, repository)
    assert found.reference == "v1"
    assert found.path == f"/v2/{repository}/manifests/v1"


def test_blobs_and_manifests_by_digest() -> None:
    blob = wanted(f"/v2/me/app/blobs/sha256:{HEX}?ns=x.io")
    assert (blob.kind, blob.digest) == ("blob", DIGEST)
    manifest = wanted(f"/v2/me/app/manifests/sha256%3a{HEX}?ns=x.io")
    assert (manifest.kind, manifest.digest) == ("manifest", DIGEST)


@pytest.mark.parametrize(
    ("raw_path", "path"),
    [
        ("/v2/a/tags/list?n=5&ns=x.io&last=b%20c", "/v2/a/tags/list?n=5&last=b%20c"),
        ("/v2/a/blobs/uploads/?ns=x.io", "/v2/a/blobs/uploads/"),
        ("/v2/a/blobs/uploads?ns=x.io&mount=sha256:x", "/v2/a/blobs/uploads?mount=sha256:x"),
        ("/v2/a/blobs/uploads/0-f?ns=x.io", "/v2/a/blobs/uploads/0-f"),
        (f"/v2/a/referrers/sha256:{HEX}?ns=x.io", f"/v2/a/referrers/sha256:{HEX}"),
        ("/v2/_catalog?%6es=x.io", "/v2/_catalog"),
        (
            "/token?service=s&ns=x.io&scope=repository%3Aa%3Apull",
            "/token?service=s&scope=repository%3Aa%3Apull",
        ),
    ],
)
def test_everything_else_is_passed_on_without_ns(raw_path: str, path: str) -> None:
    found = wanted(raw_path)
    assert (found.kind, found.registry, found.path) == ("other", "x.io", path)


def test_the_default_registrys_library_is_put_before_other_calls_too() -> None:
    assert wanted("/v2/busybox/tags/list").path == "/v2/library/busybox/tags/list"


@pytest.mark.parametrize("raw_path", ["/v2", "/v2/"])
def test_ping(raw_path: str) -> None:
    assert wanted(raw_path).kind == "ping"


def test_a_ping_that_names_its_registry_is_for_that_one() -> None:
    found = wanted("/v2/?ns=x.io")
    assert (found.kind, found.registry, found.path) == ("other", "x.io", "/v2/")


@pytest.mark.parametrize(
    "raw_path",
    [
        "",
        "*",
        "v2/",
        "http://user:secret@host/v2/",
        "/",
        "/v1/search?q=a",
        "/v2//manifests/v1",
        "/v2/a/./manifests/v1",
        "/v2/a/../manifests/v1",
        "/v2/a/%2E%2e/manifests/v1",
        "/v2/a%2fb/manifests/v1",
        "/v2/a%5Cb/manifests/v1",
        "/v2/a%252fb/manifests/v1",
        "/v2/a%00/manifests/v1",
        "/v2/a%0d%0aX-Evil:1/manifests/v1",
        "/v2/%C3%A9/manifests/v1",
        "/v2/a%zz/manifests/v1",
        "/v2/a b/manifests/v1",
        "/v2/a#b/manifests/v1",
        "/v2/A/manifests/v1",
        "/v2/-a/manifests/v1",
        "/v2/a/manifests/-v1",
        "/v2/a/manifests/" + "v" * 129,
        "/v2/" + "a/" * 200 + "manifests/v1",
        "/v2/a/manifests/v1?ns=",
        "/v2/a/manifests/v1?ns=a&ns=b",
        "/v2/a/manifests/v1?ns=http://a",
        "/v2/a/manifests/v1?ns=a@b",
        "/v2/a/manifests/v1?ns=a%00",
        "/v2/" + "a" * URL_CHARS_MAX,
    ],
)
def test_bad_names(raw_path: str) -> None:
    with pytest.raises(BadName) as caught:
        wanted(raw_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["md5:abc", "sha256:abc", "sha256:" + "A" * 64, "sha256:", "uploads2"])
def test_bad_digests(text: str) -> None:
    with pytest.raises(BadDigest):
        wanted(f"/v2/a/blobs/{text}")
