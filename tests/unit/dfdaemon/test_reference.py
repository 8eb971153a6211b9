"""Image references as people type them."""

import pytest

from dfdaemon.reference import Reference, parse_reference
from swarm.digest import Digest
from swarm.errors import BadDigest, BadName

HEX = "a" * 64
DIGEST = Digest("sha256", HEX)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("busybox", Reference("docker.io", "library/busybox", "latest")),
        ("busybox:1.36", Reference("docker.io", "library/busybox", "1.36")),
        ("grafana/loki:2", Reference("docker.io", "grafana/loki", "2")),
        ("docker.io/busybox", Reference("docker.io", "library/busybox", "latest")),
        ("ghcr.io/a/b/c:v1", Reference("ghcr.io", "a/b/c", "v1")),
        ("localhost/app", Reference("localhost", "app", "latest")),
        ("127.0.0.1:5000/app:v1", Reference("127.0.0.1:5000", "app", "v1")),
        (f"ghcr.io/a/b@sha256:{HEX}", Reference("ghcr.io", "a/b", "", DIGEST)),
        (f"ghcr.io/a/b:v1@sha256:{HEX}", Reference("ghcr.io", "a/b", "v1", DIGEST)),
        (f"https://ghcr.io/v2/a/b/blobs/sha256:{HEX}", Reference("ghcr.io", "a/b", "", DIGEST, blob=True)),
        (f"http://r.test:5000/v2/a/blobs/sha256:{HEX}", Reference("r.test:5000", "a", "", DIGEST, blob=True)),
    ],
)
def test_what_is_typed_is_what_is_meant(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UPPER/case",
        "a/../b",
        "ghcr.io/",
        "app:",
        "app:bad tag",
        "https://ghcr.io/v2/a/manifests/v1",
        "a//b",
    ],
)
def test_what_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse_reference(text)


@pytest.mark.parametrize("text", ["app@sha256:12", "app@md5:" + "a" * 32, "app@" + HEX])
def test_a_digest_that_cannot_be_checked_is_refused(text: str) -> None:
    with pytest.raises(BadDigest):
        parse_reference(text)


def test_a_password_in_a_url_goes_no_further() -> None:
    reference = parse_reference(f"https://user:secret@ghcr.io/v2/a/blobs/sha256:{HEX}")
    assert reference.registry == "ghcr.io"
    assert "secret" not in str(reference)


def test_the_path_asks_for_the_most_exact_name() -> None:
    assert parse_reference("ghcr.io/a:v1").path == "/v2/a/manifests/v1"
    assert parse_reference(f"ghcr.io/a:v1@{DIGEST}").path == f"/v2/a/manifests/{DIGEST}"
    assert parse_reference(f"https://ghcr.io/v2/a/blobs/{DIGEST}").path == f"/v2/a/blobs/{DIGEST}"
