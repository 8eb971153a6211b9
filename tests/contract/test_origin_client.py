"""One contract of the origin client with every registry: the embedded one and a real docker-registry."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.io.image import MEDIA_INDEX, MEDIA_MANIFEST, Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.io.origin_client import OriginClient, OriginSource
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import OriginStatus
from tests.support.background import in_background
from tests.support.docker_registry import DockerRegistry
from tests.support.token_server import TokenServer

KINDS = [
    "embedded",
    pytest.param("docker-registry", marks=pytest.mark.needs("docker-registry", "skopeo", "apache2-utils")),
]
PUBLIC, PRIVATE = "test/public", "test/private"
ANN = basic_header("ann", "secret")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    return {
        name: generate_image(
            tmp_path_factory.mktemp("image"), name, "v1", [100_000], seed=seed, with_index=True
        )
        for seed, name in enumerate([PUBLIC, PRIVATE])
    }


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(
    stack: ExitStack, kind: str, directory: Path, images: dict[str, Image], policy: AccessPolicy
) -> str:
    """Run a registry that holds the images; return its URL."""
    if kind == "embedded":
        settings = OriginSettings(access=policy)
        return stack.enter_context(in_background(OriginRegistry(images.values(), settings))).url
    if policy.mode is AuthMode.BEARER:
        tokens = stack.enter_context(TokenServer(directory, policy))
        registry = DockerRegistry(directory, tokens=tokens)
    else:
        accounts = {user: account.password for user, account in policy.accounts.items()}
        registry = DockerRegistry(directory, accounts=accounts)
    stack.enter_context(registry)
    for image in images.values():
        registry.push(image, credentials="ann:secret")
    return registry.url


@pytest.fixture(scope="module")
def urls(
    kind: str, images: dict[str, Image], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[AuthMode, str]]:
    accounts = {"ann": Account("secret")}
    bearer = AccessPolicy(AuthMode.BEARER, accounts, frozenset({PUBLIC}))
    basic = AccessPolicy(AuthMode.BASIC, accounts)
    with ExitStack() as stack:
        yield {
            policy.mode: start(stack, kind, tmp_path_factory.mktemp("registry"), images, policy)
            for policy in (bearer, basic)
        }


@pytest.fixture
async def client(urls: dict[AuthMode, str]) -> AsyncIterator[OriginClient]:
    listed = tuple(RegistryConfig(name=mode.value, url=url) for mode, url in urls.items())
    client = OriginClient(OriginConfig(registries=listed), Dice(1))
    yield client
    await client.close()


def source(image: Image, authorization: str | None = None, registry: str = "bearer") -> OriginSource:
    digest = Digest.parse(image.layers[0].digest)
    return OriginSource(registry, image.name, digest, "blob", authorization=authorization)


async def read(client: OriginClient, source: OriginSource, start: int = 0, end: int | None = None) -> bytes:
    async with client.fetch(source, start, end) as body:
        assert body.ranged == (end is not None)
        return b"".join([chunk async for chunk in body.chunks()])


def content(image: Image, digest: str) -> bytes:
    return blob_path(image.directory, digest).read_bytes()


async def test_a_public_image_without_a_credential(client: OriginClient, images: dict[str, Image]) -> None:
    image = images[PUBLIC]
    head = await client.head_manifest("bearer", PUBLIC, "v1", (MEDIA_INDEX, MEDIA_MANIFEST), None)
    assert (str(head.digest), head.media_type) == (image.root_digest, MEDIA_INDEX)
    assert head.size == len(content(image, image.root_digest))
    layer = image.layers[0]
    found = await client.head_blob(source(image))
    assert (found.size, str(found.digest)) == (layer.size, layer.digest)
    whole = content(image, layer.digest)
    assert await read(client, source(image)) == whole
    assert await read(client, source(image), 100, 5000) == whole[100:5000]


async def test_a_manifest_needs_its_type_among_the_accept_lines(
    client: OriginClient, images: dict[str, Image]
) -> None:
    image = images[PUBLIC]
    digest = Digest.parse(image.manifest_digest)
    accept = ("a/b", MEDIA_INDEX, MEDIA_MANIFEST)
    assert await read(client, OriginSource("bearer", PUBLIC, digest, "manifest", accept)) == content(
        image, str(digest)
    )
    with pytest.raises(OriginStatus) as caught:
        await read(client, OriginSource("bearer", PUBLIC, digest, "manifest", ("a/b",)))
    assert caught.value.status == 404


async def test_a_private_image_answers_strangers_with_its_challenge(
    client: OriginClient, images: dict[str, Image]
) -> None:
    for authorization in (None, "Bearer forged"):
        with pytest.raises(OriginStatus) as caught:
            await client.head_blob(source(images[PRIVATE], authorization))
        assert caught.value.status == 401
        (challenge,) = caught.value.challenges
        assert challenge.startswith("Bearer realm=")
        assert f'scope="repository:{PRIVATE}:pull"' in challenge


async def test_basic_credentials(client: OriginClient, images: dict[str, Image]) -> None:
    image = images[PRIVATE]
    assert await read(client, source(image, ANN, "basic")) == content(image, image.layers[0].digest)
    with pytest.raises(OriginStatus) as caught:
        await read(client, source(image, None, "basic"))
    assert caught.value.status == 401
    assert caught.value.challenges[0].startswith("Basic realm=")


async def test_another_repositorys_blob_is_not_found(client: OriginClient, images: dict[str, Image]) -> None:
    digest = Digest.parse(images[PRIVATE].layers[0].digest)
    with pytest.raises(OriginStatus) as caught:
        await client.head_blob(OriginSource("bearer", PUBLIC, digest, "blob"))
    assert caught.value.status == 404
