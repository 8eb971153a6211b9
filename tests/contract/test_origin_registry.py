"""One contract for every origin: what the embedded registry speaks, a real docker-registry speaks too."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.io.image import MEDIA_INDEX, MEDIA_MANIFEST, Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from tests.support.background import in_background
from tests.support.docker_registry import DockerRegistry
from tests.support.http_client import Reply, fetch
from tests.support.token_server import TokenServer

KINDS = [
    "embedded",
    pytest.param("docker-registry", marks=pytest.mark.needs("docker-registry", "skopeo", "apache2-utils")),
]
ABSENT = "sha256:" + "0" * 64
ACCEPT = [("Accept", MEDIA_MANIFEST), ("Accept", MEDIA_INDEX)]


@dataclass(frozen=True)
class Origin:
    """A running registry with the images in it."""

    url: str
    blob_bytes: Callable[[str, int], int]  # of a digest, once it has the given count

    def manifest(self, image: Image, reference: str, *, method: str = "GET") -> Reply:
        return fetch(method, f"{self.url}/v2/{image.name}/manifests/{reference}", ACCEPT)

    def blob(self, image: Image, digest: str, asked: str | None = None, *, method: str = "GET") -> Reply:
        headers = [] if asked is None else [("Range", asked)]
        return fetch(method, f"{self.url}/v2/{image.name}/blobs/{digest}", headers)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("img"), "test/img", "v1", [100_000, 999], with_index=True)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("private"), "test/private", "v1", [500], seed=1)


def embedded(stack: ExitStack, images: list[Image], policy: AccessPolicy) -> Origin:
    registry = stack.enter_context(in_background(OriginRegistry(images, OriginSettings(access=policy))))
    return Origin(registry.url, lambda digest, _: registry.counters.blob_bytes[digest])


def real(stack: ExitStack, directory: Path, images: list[Image], policy: AccessPolicy) -> Origin:
    if policy.mode is AuthMode.BEARER:
        tokens = stack.enter_context(TokenServer(directory, policy))
        registry = DockerRegistry(directory, tokens=tokens)
    else:
        accounts = {user: account.password for user, account in policy.accounts.items()}
        registry = DockerRegistry(directory, accounts=accounts or None)
    stack.enter_context(registry)
    for image in images:
        registry.push(image, credentials="ann:secret" if policy.accounts else None)
    registry.forget_traffic()
    return Origin(
        registry.url, lambda digest, count: registry.settled_traffic(count, digest).blob_bytes[digest]
    )


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def origin(
    kind: str, tmp_path_factory: pytest.TempPathFactory, image: Image, private: Image
) -> Iterator[Origin]:
    with ExitStack() as stack:
        images, policy = [image, private], AccessPolicy()
        if kind == "embedded":
            yield embedded(stack, images, policy)
        else:
            yield real(stack, tmp_path_factory.mktemp("registry"), images, policy)


def content(image: Image, digest: str) -> bytes:
    return blob_path(image.directory, digest).read_bytes()


def test_the_ping_says_that_it_is_a_registry(origin: Origin) -> None:
    reply = fetch("GET", f"{origin.url}/v2/")
    assert (reply.status, reply.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")


def test_a_tag_leads_to_the_digest_of_its_manifest(origin: Origin, image: Image) -> None:
    reply = origin.manifest(image, "v1", method="HEAD")
    assert reply.status == 200
    assert reply.body == b""
    assert reply.headers["Docker-Content-Digest"] == image.root_digest
    assert reply.headers["Content-Type"] == MEDIA_INDEX
    assert int(reply.headers["Content-Length"]) == len(content(image, image.root_digest))


@pytest.mark.parametrize("by", ["tag", "index digest", "manifest digest"])
def test_a_manifest_comes_byte_for_byte(origin: Origin, image: Image, by: str) -> None:
    references = {"tag": "v1", "index digest": image.root_digest, "manifest digest": image.manifest_digest}
    expected = image.manifest_digest if by == "manifest digest" else image.root_digest
    reply = origin.manifest(image, references[by])
    assert reply.status == 200
    assert reply.body == content(image, expected)
    assert reply.headers["Docker-Content-Digest"] == expected
    assert reply.headers["ETag"] == f'"{expected}"'


@pytest.mark.parametrize("accept", ["*/*", "application/vnd.docker.distribution.manifest.v2+json"])
def test_a_manifest_of_a_type_that_was_not_asked_for_is_not_there(
    origin: Origin, image: Image, accept: str
) -> None:
    url = f"{origin.url}/v2/{image.name}/manifests/{image.manifest_digest}"
    reply = fetch("GET", url, [("Accept", accept)])
    assert (reply.status, reply.error_code) == (404, "MANIFEST_UNKNOWN")


def test_all_types_may_stand_in_one_accept_header(origin: Origin, image: Image) -> None:
    url = f"{origin.url}/v2/{image.name}/manifests/v1"
    reply = fetch("GET", url, [("Accept", f"{MEDIA_MANIFEST}, {MEDIA_INDEX};q=0.5, */*")])
    assert reply.status == 200


def test_what_does_not_exist_has_its_own_error(origin: Origin, image: Image) -> None:
    assert origin.manifest(image, "v2").error_code == "MANIFEST_UNKNOWN"
    assert origin.manifest(image, ABSENT).error_code == "MANIFEST_UNKNOWN"
    reply = origin.blob(image, ABSENT)
    assert (reply.status, reply.error_code) == (404, "BLOB_UNKNOWN")
    assert origin.blob(image, ABSENT, method="HEAD").status == 404


def test_a_blob_is_found_only_in_its_own_repository(origin: Origin, image: Image, private: Image) -> None:
    assert origin.blob(private, private.config.digest).status == 200
    assert origin.blob(image, private.config.digest).status == 404


def test_a_blob_has_its_digest_and_size(origin: Origin, image: Image) -> None:
    for digest, size in image.blobs:
        reply = origin.blob(image, digest)
        assert (reply.status, reply.ending, len(reply.body)) == (200, "complete", size)
        assert "sha256:" + hashlib.sha256(reply.body).hexdigest() == digest
        assert reply.headers["Docker-Content-Digest"] == digest
        assert reply.headers["ETag"] == f'"{digest}"'


def test_the_head_of_a_blob_tells_its_size(origin: Origin, image: Image) -> None:
    digest, size = image.layers[0]
    reply = origin.blob(image, digest, method="HEAD")
    assert (reply.status, int(reply.headers["Content-Length"]), reply.body) == (200, size, b"")
    assert reply.headers["Docker-Content-Digest"] == digest


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=70000-", 70_000, None),
        ("bytes=-7", -7, None),
        ("bytes=99990-999999999", 99_990, None),
        ("bytes=-999999999", 0, None),
    ],
)
def test_a_single_range_is_a_part_of_the_blob(
    origin: Origin, image: Image, asked: str, start: int, stop: int | None
) -> None:
    digest, size = image.layers[0]
    reply = origin.blob(image, digest, asked)
    expected = content(image, digest)[start:stop]
    first = start % size
    assert reply.status == 206
    assert reply.body == expected
    assert reply.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{size}"
    assert int(reply.headers["Content-Length"]) == len(expected)


def test_a_range_beyond_the_end_is_refused(origin: Origin, image: Image) -> None:
    digest, size = image.layers[0]
    reply = origin.blob(image, digest, f"bytes={size}-")
    assert reply.status == 416
    assert reply.headers["Content-Range"] == f"bytes */{size}"


def test_many_at_once_get_the_same(origin: Origin, image: Image) -> None:
    digest, _ = image.layers[0]
    with ThreadPoolExecutor(16) as pool:
        bodies = set(pool.map(lambda _: origin.blob(image, digest).body, range(64)))
    assert bodies == {content(image, digest)}


def test_every_byte_that_leaves_is_counted(origin: Origin, private: Image) -> None:
    digest, size = private.layers[0]
    origin.blob(private, digest)
    origin.blob(private, digest, "bytes=100-199")
    origin.blob(private, digest, method="HEAD")
    assert origin.blob_bytes(digest, size + 100) == size + 100


def guarded(kind: str, stack: ExitStack, directory: Path, images: list[Image], mode: AuthMode) -> Origin:
    policy = AccessPolicy(
        mode, {"ann": Account("secret")}, public=frozenset({"test/img"} if mode == "bearer" else ())
    )
    return embedded(stack, images, policy) if kind == "embedded" else real(stack, directory, images, policy)


def blob_status(origin: Origin, image: Image, authorization: str | None) -> Reply:
    headers = [] if authorization is None else [("Authorization", authorization)]
    return fetch("GET", f"{origin.url}/v2/{image.name}/blobs/{image.config.digest}", headers)


def token(challenge: str, authorization: str | None = None) -> Reply:
    """Ask at the realm of a challenge, as clients do."""
    fields = dict(
        field.split("=", 1) for field in challenge.removeprefix("Bearer ").split(",") if "=" in field
    )
    asked = {name: value.strip('"') for name, value in fields.items()}
    url = f"{asked['realm']}?service={asked['service']}&scope={asked['scope']}"
    return fetch("GET", url, [] if authorization is None else [("Authorization", authorization)])


def test_basic_lets_in_who_knows_the_password(kind: str, tmp_path: Path, image: Image) -> None:
    with ExitStack() as stack:
        origin = guarded(kind, stack, tmp_path, [image], AuthMode.BASIC)
        refused = blob_status(origin, image, None)
        assert (refused.status, refused.error_code) == (401, "UNAUTHORIZED")
        assert refused.headers["WWW-Authenticate"].startswith('Basic realm="')
        assert blob_status(origin, image, basic_header("ann", "wrong")).status == 401
        assert blob_status(origin, image, basic_header("ann", "secret")).status == 200


def test_bearer_gives_anybody_what_is_public(kind: str, tmp_path: Path, image: Image) -> None:
    with ExitStack() as stack:
        origin = guarded(kind, stack, tmp_path, [image], AuthMode.BEARER)
        refused = blob_status(origin, image, None)
        assert refused.status == 401
        challenge = refused.headers["WWW-Authenticate"]
        assert f'scope="repository:{image.name}:pull"' in challenge
        bearer = "Bearer " + token(challenge).json()["token"]
        assert blob_status(origin, image, bearer).status == 200


def test_bearer_gives_only_its_readers_what_is_private(kind: str, tmp_path: Path, private: Image) -> None:
    with ExitStack() as stack:
        origin = guarded(kind, stack, tmp_path, [private], AuthMode.BEARER)
        challenge = blob_status(origin, private, None).headers["WWW-Authenticate"]
        anonymous = "Bearer " + token(challenge).json()["token"]
        refused = blob_status(origin, private, anonymous)
        assert refused.status == 401
        assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
        assert token(challenge, basic_header("ann", "wrong")).status == 401
        readers = "Bearer " + token(challenge, basic_header("ann", "secret")).json()["token"]
        assert blob_status(origin, private, readers).status == 200
        forged = blob_status(origin, private, readers[:-6] + "AAAAAA")
        assert forged.status == 401
