"""This host's own account, lent to its clients or not, and repositories that have another name at their registry."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.io.image import MEDIA_MANIFEST, Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from dfdaemon.io.origin_client import MANIFEST_TYPES
from tests.support.fake_origin import fake_origin
from tests.support.mirror import REGISTRY, Mirror, content_of, running_mirror

ACCEPT = ("Accept", ", ".join(MANIFEST_TYPES))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "team/app", "v1", [1000])


@asynccontextmanager
async def mirror_of(image: Image, directory: Path, mode: AuthMode, lent: bool) -> AsyncIterator[Mirror]:
    """A mirror of a registry where only ann may read, on a host that is ann there."""
    secret = directory / "secret"
    secret.write_text("secret")
    account = {"username": "ann", "password_file": str(secret), "credentials_for_clients": lent}
    policy = AccessPolicy(mode, {"ann": Account("secret")})
    async with (
        OriginRegistry([image], OriginSettings(access=policy)) as origin,
        running_mirror(origin, directory, listing=account) as mirror,
    ):
        yield mirror


@pytest.mark.parametrize("mode", [AuthMode.BASIC, AuthMode.BEARER])
async def test_an_account_that_is_lent_serves_who_has_none(
    image: Image, tmp_path: Path, mode: AuthMode
) -> None:
    async with mirror_of(image, tmp_path, mode, lent=True) as mirror:
        manifest = await mirror.get("/v2/team/app/manifests/v1", ACCEPT)
        assert (manifest.status, manifest.body) == (200, content_of(image, image.root_digest))
        layer = image.layers[0].digest
        assert (await mirror.get(f"/v2/team/app/blobs/{layer}")).body == content_of(image, layer)
        assert not any(report.public for report in mirror.cluster.repositories), (
            "others are told nothing wrong"
        )
        wrong = await mirror.get(
            "/v2/team/app/manifests/v1", ACCEPT, ("Authorization", basic_header("eve", "x"))
        )
        assert wrong.status == 401, "who has a credential is judged by it"


@pytest.mark.parametrize("mode", [AuthMode.BASIC, AuthMode.BEARER])
async def test_an_account_that_is_not_lent_serves_nobody(
    image: Image, tmp_path: Path, mode: AuthMode
) -> None:
    async with mirror_of(image, tmp_path, mode, lent=False) as mirror:
        layer = image.layers[0].digest
        own = ("Authorization", basic_header("ann", "secret"))
        if mode is AuthMode.BASIC:
            assert (await mirror.get(f"/v2/team/app/blobs/{layer}", own)).status == 200
        for path in ("manifests/v1", f"manifests/{image.manifest_digest}", f"blobs/{layer}"):
            refused = await mirror.get(f"/v2/team/app/{path}", ACCEPT)
            assert refused.status == 401
            assert refused.all("WWW-Authenticate")


async def test_lists_are_lent_and_pushes_are_not(tmp_path: Path) -> None:
    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Authorization") == basic_header("ann", "secret"):
            return web.Response(text="yes")
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    (tmp_path / "secret").write_text("secret")
    account = {
        "username": "ann",
        "password_file": str(tmp_path / "secret"),
        "credentials_for_clients": True,
    }
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path, listing=account) as mirror:
        assert (await mirror.get("/v2/team/app/tags/list")).status == 200
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            pushed = await mirror.ask(method, f"/v2/team/app/blobs/uploads/7?ns={REGISTRY}", [], b"x")
            assert pushed.status == 401


async def test_clients_keep_the_names_that_they_know(tmp_path: Path) -> None:
    def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=202, headers={"Location": f"{request.path}7?state=s"})

    listing = {"rewrites": ("^team/(.*)$ => there/$1",)}
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path, listing=listing) as mirror:
        started = await mirror.ask("POST", f"/v2/team/app/blobs/uploads/?ns={REGISTRY}")
        assert origin.seen[0].path == "/v2/there/app/blobs/uploads/"
        assert started.header("Location") == f"/v2/team/app/blobs/uploads/7?state=s&ns={REGISTRY}"


async def test_a_manifest_that_comes_compressed_without_a_length(tmp_path: Path, image: Image) -> None:
    content = content_of(image, image.manifest_digest)
    digest = image.manifest_digest

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        headers = {
            "Docker-Content-Digest": digest,
            "Content-Encoding": "gzip",
            "Content-Type": MEDIA_MANIFEST,
        }
        return web.Response(body=gzip.compress(content), headers=headers)

    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        for reference in ("v1", digest):
            found = await mirror.get(f"/v2/team/app/manifests/{reference}", ACCEPT)
            assert (found.status, found.body) == (200, content)
            assert found.header("Content-Encoding") is None
            assert found.header("Content-Type") == MEDIA_MANIFEST
            head = await mirror.head(f"/v2/team/app/manifests/{reference}", ACCEPT)
            assert (head.status, head.header("Content-Length")) == (200, str(len(content)))
