"""What a tag means: asked once for all, by a seed where strangers may read, by each host otherwise."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.io.image import MEDIA_INDEX, MEDIA_MANIFEST, Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from benchmarks.origin.faults import Fault, FaultKind, Where
from dfdaemon.io import origin_turns
from dfdaemon.io.origin_client import MANIFEST_TYPES
from dfdaemon.permissions import PUBLIC_TTL_S, REFUSED_TTL_S, Place
from swarm.digest import Digest
from swarm.repositories import RepositoryAnswer, ResolveTag, TagPushed, TagUnresolved
from tests.support.fake_origin import fake_origin, says
from tests.support.mirror import REGISTRY, Mirror, running_mirror

ACCEPT = ("Accept", ", ".join(MANIFEST_TYPES))
ANN = ("Authorization", basic_header("ann", "s3cret"))
PUBLIC, PRIVATE = "team/public", "team/private"
BY_TAG = "HEAD manifest by tag"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    names = enumerate([PUBLIC, PRIVATE])
    return [
        generate_image(tmp_path_factory.mktemp("image"), name, "v1", [2000], seed=seed)
        for seed, name in names
    ]


@pytest.fixture
async def origin(images: list[Image]) -> AsyncIterator[OriginRegistry]:
    policy = AccessPolicy(AuthMode.BASIC, {"ann": Account("s3cret")}, frozenset({PUBLIC}))
    async with OriginRegistry(images, OriginSettings(access=policy)) as registry:
        yield registry


@pytest.fixture
async def own(origin: OriginRegistry, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with running_mirror(origin, tmp_path) as running:
        yield running


@pytest.fixture
async def shared(origin: OriginRegistry, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with running_mirror(origin, tmp_path, tags="shared") as running:
        yield running


def of_a_seed(image: Image, *, public: bool = True, age_s: float = 0.0) -> RepositoryAnswer:
    return RepositoryAnswer(1, public, image.root_digest, MEDIA_MANIFEST, 300, public_age_s=age_s)


async def test_a_herd_of_one_node_is_one_question_to_the_origin(own: Mirror, origin: OriginRegistry) -> None:
    origin.faults.append(Fault(FaultKind.SLOW_HEADERS, where=Where.MANIFEST, method="HEAD", seconds=0.2))
    asking = [own.head(f"/v2/{PUBLIC}/manifests/v1", ACCEPT) for _ in range(10)]
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {200}
    assert origin.counters.requests[BY_TAG] == 1
    assert (await own.head(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)).status == 200
    assert origin.counters.requests[BY_TAG] == 2, "the next pull asks anew"


async def test_clients_with_other_credentials_or_types_ask_for_themselves(
    own: Mirror, origin: OriginRegistry
) -> None:
    origin.faults.append(
        Fault(FaultKind.SLOW_HEADERS, where=Where.MANIFEST, method="HEAD", seconds=0.2, times=3)
    )
    kinds = [(ACCEPT,), (ACCEPT, ANN), (("Accept", MEDIA_MANIFEST),)]
    await asyncio.gather(*(own.head(f"/v2/{PUBLIC}/manifests/v1", *headers) for headers in kinds))
    assert origin.counters.requests[BY_TAG] == 3


async def test_a_shared_tag_costs_this_node_nothing(
    shared: Mirror, origin: OriginRegistry, images: list[Image]
) -> None:
    shared.cluster.fresh_answers[REGISTRY, PUBLIC, "v1"] = of_a_seed(images[0])
    for headers in (ACCEPT,), (ACCEPT, ANN), (("Accept", "*/*"),):
        answer = await shared.head(f"/v2/{PUBLIC}/manifests/v1", *headers)
        assert answer.status == 200
        assert answer.header("Docker-Content-Digest") == images[0].root_digest
        assert answer.header("Warning") is None
    assert not origin.counters.requests
    assert not shared.cluster.tags, "it is no finding of this host"


@pytest.mark.parametrize("why", ["unknown", "private", "old", "type", "no-cache"])
async def test_otherwise_the_origin_is_asked(
    shared: Mirror, origin: OriginRegistry, images: list[Image], why: str
) -> None:
    if why != "unknown":
        answer = of_a_seed(images[0], public=why != "private", age_s=10_000.0 if why == "old" else 0.0)
        shared.cluster.fresh_answers[REGISTRY, PUBLIC, "v1"] = answer
    headers = [("Accept", MEDIA_INDEX) if why == "type" else ACCEPT]
    if why == "no-cache":
        headers.append(("Cache-Control", "no-cache"))
    await shared.head(f"/v2/{PUBLIC}/manifests/v1", *headers)
    assert origin.counters.requests[BY_TAG] == 1


async def test_a_private_tag_is_the_origins_to_tell(shared: Mirror, origin: OriginRegistry) -> None:
    path = f"/v2/{PRIVATE}/manifests/v1"
    assert (await shared.head(path, ACCEPT)).status == 401
    assert (await shared.head(path, ACCEPT, ANN)).status == 200
    assert len(shared.cluster.fresh_questions) == 1, (
        "no seed is let in where a stranger was refused a moment ago"
    )
    assert origin.counters.requests[BY_TAG] == 2


async def test_a_refusal_is_repeated_for_a_moment_without_asking(own: Mirror, origin: OriginRegistry) -> None:
    path = f"/v2/{PRIVATE}/manifests/v1"
    first, second = await own.get(path, ACCEPT), await own.get(path, ACCEPT)
    assert (first.status, first.headers, first.body) == (second.status, second.headers, second.body)
    assert first.status == 401
    assert first.all("WWW-Authenticate") == ['Basic realm="origin.test"']
    assert origin.counters.requests[BY_TAG] == 1


async def test_a_tag_that_is_not_there_is_asked_for_each_time(own: Mirror, origin: OriginRegistry) -> None:
    for _ in range(2):
        assert (await own.head(f"/v2/{PUBLIC}/manifests/none", ACCEPT)).status == 404
    assert origin.counters.requests[BY_TAG] == 2, "it may be pushed at any moment"


async def test_a_tag_that_was_deleted_is_not_served_in_an_outage(
    own: Mirror, origin: OriginRegistry, images: list[Image]
) -> None:
    path = f"/v2/{PUBLIC}/manifests/v1"
    assert (await own.head(path, ACCEPT)).status == 200
    gone = Fault(FaultKind.STATUS, where=Where.MANIFEST, method="HEAD", status=404)
    origin.faults.append(gone)
    assert (await own.head(path, ACCEPT)).status == 404
    assert own.cluster.moved == [TagPushed(REGISTRY, PUBLIC, "v1")], "seeds shall ask again"
    await origin.stop()
    assert (await own.head(path, ACCEPT)).status == 502


async def test_a_seed_asks_as_a_stranger_and_tells_all(
    own: Mirror, origin: OriginRegistry, images: list[Image]
) -> None:
    await own.proxy.tags.resolve_for_cluster(ResolveTag(REGISTRY, PUBLIC, "v1"))
    (report,), (public, *_) = own.cluster.tags, own.cluster.repositories
    assert (report.tag, report.digest) == ("v1", images[0].root_digest)
    assert public.public
    assert public.members == (images[0].root_digest,)
    assert not own.cluster.moved


async def test_a_seed_for_which_the_registry_is_down_keeps_the_others_from_asking(
    shared: Mirror, origin: OriginRegistry, images: list[Image]
) -> None:
    origin.faults.append(
        Fault(FaultKind.STATUS, where=Where.MANIFEST, method="HEAD", status=503, times=None, retry_after_s=60)
    )
    await shared.proxy.tags.resolve_for_cluster(ResolveTag(REGISTRY, PUBLIC, "v1"))
    assert shared.cluster.moved == [TagUnresolved(REGISTRY, PUBLIC, "v1", down=True)]
    asked = origin.counters.requests.total()
    last = RepositoryAnswer(1, True, images[0].root_digest, MEDIA_MANIFEST, 300)
    shared.cluster.answers[REGISTRY, PUBLIC, "v1", ""] = last
    shared.cluster.fresh_answers[REGISTRY, PUBLIC, "v1"] = RepositoryAnswer(1, public=True, down=True)
    answer = await shared.head(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)
    assert answer.header("Docker-Content-Digest") == images[0].root_digest
    assert answer.header("Warning")
    assert origin.counters.requests.total() == asked


async def test_a_seed_that_is_told_to_wait_keeps_nobody_from_asking(
    shared: Mirror, origin: OriginRegistry
) -> None:
    origin.faults.append(Fault(FaultKind.STATUS, where=Where.MANIFEST, method="HEAD", status=429))
    await shared.proxy.tags.resolve_for_cluster(ResolveTag(REGISTRY, PUBLIC, "v1"))
    assert shared.cluster.moved == [TagUnresolved(REGISTRY, PUBLIC, "v1", down=False)]


def moving(meant: list[bytes], throttled: Callable[[web.BaseRequest], bool]) -> Callable[..., web.Response]:
    """A registry whose tags mean the last manifest of a list, and that tells some clients to wait."""

    def answer(request: web.BaseRequest) -> web.Response:
        if throttled(request):
            return web.Response(status=429, headers={"Retry-After": "60"})
        headers = {"Docker-Content-Digest": str(Digest.of(meant[-1])), "Content-Type": MEDIA_MANIFEST}
        return web.Response(body=meant[-1], headers=headers)

    return answer


async def test_a_429_is_no_outage_for_tags_and_counts_for_who_got_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant, throttling = [b"old"], False

    def throttled(request: web.BaseRequest) -> bool:
        return throttling and "Authorization" not in request.headers

    path = f"/v2/{PUBLIC}/manifests/v1"
    async with fake_origin(moving(meant, throttled)) as origin, running_mirror(origin, tmp_path) as mirror:
        assert (await mirror.get(path, ACCEPT)).body == b"old"
        meant.append(b"new")
        throttling = True
        refused = await mirror.head(path, ACCEPT)
        assert (refused.status, refused.header("Retry-After")) == (503, "60"), "no tag of yesterday"
        answer = await mirror.head(path, ACCEPT, ANN)
        assert answer.header("Docker-Content-Digest") == str(Digest.of(b"new"))
        assert answer.header("Warning") is None
        now = mirror.authoriser.knowledge.now
        monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + PUBLIC_TTL_S)
        asked = len(origin.seen)
        old = await mirror.get(f"/v2/{PUBLIC}/manifests/{Digest.of(b'old')}", ACCEPT)
        assert (old.status, old.body) == (200, b"old"), "what a digest means does not change"
        assert len(origin.seen) > asked


async def test_a_token_server_that_tells_a_stranger_to_wait_makes_no_tag_old_for_others(
    tmp_path: Path,
) -> None:
    meant, throttling = [b"old"], False
    says_tag = moving(meant, lambda request: False)

    def answer(request: web.BaseRequest) -> web.Response:
        if request.path == "/token":
            token = {"token": "t", "expires_in": 0.000001}
            return web.Response(status=429) if throttling else web.json_response(token)
        if "Authorization" in request.headers:
            return says_tag(request)
        challenge = f'Bearer realm="http://{request.host}/token",service="s"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    path = f"/v2/{PUBLIC}/manifests/v1"
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        assert (await mirror.head(path, ACCEPT)).status == 200
        meant.append(b"new")
        throttling = True
        assert (await mirror.head(path, ACCEPT)).status == 401, "it may get a token by itself"
        own = await mirror.head(path, ACCEPT, ANN)
        assert own.header("Docker-Content-Digest") == str(Digest.of(b"new"))


@pytest.mark.parametrize("limit", ["requests_per_s_max", "connections_max"])
async def test_a_limit_of_our_own_is_no_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(origin_turns, "QUEUE_S", 0.05)
    listing = {limit: 1 if limit == "connections_max" else 0.01}
    meant, holds, goes_on = [b"old"], asyncio.Event(), asyncio.Event()
    says_tag = moving(meant, lambda request: False)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if "/blobs/" in request.path:
            holds.set()
            await goes_on.wait()
        return says_tag(request)

    path = f"/v2/{PUBLIC}/manifests/v1"
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path, listing=listing) as mirror:
        assert (await mirror.head(path, ACCEPT)).status == 200
        meant.append(b"new")
        busy = asyncio.create_task(mirror.head(f"/v2/{PUBLIC}/blobs/{Digest.of(b'blob')}"))
        if limit == "connections_max":
            await holds.wait()
        refused = await mirror.get(path, ACCEPT)
        assert refused.status == 503
        assert limit in refused.error["message"]
        assert (refused.header("Retry-After") is None) is (limit == "connections_max")
        assert mirror.authoriser.failure(Place(REGISTRY, PUBLIC), None) is None
        goes_on.set()
        await busy


async def test_who_may_not_read_makes_nobody_forget(
    own: Mirror, origin: OriginRegistry, images: list[Image]
) -> None:
    path = f"/v2/{PRIVATE}/manifests/v1"
    assert (await own.head(path, ACCEPT, ANN)).status == 200
    origin.faults.append(Fault(FaultKind.STATUS, where=Where.MANIFEST, method="HEAD", status=404))
    assert (await own.head(path, ACCEPT)).status in (401, 404)
    assert not own.cluster.moved


@pytest.mark.parametrize(("repository", "tag"), [(PRIVATE, "v1"), (PUBLIC, "none")])
async def test_a_seed_says_when_it_cannot(own: Mirror, repository: str, tag: str) -> None:
    await own.proxy.tags.resolve_for_cluster(ResolveTag(REGISTRY, repository, tag))
    assert own.cluster.moved == [TagUnresolved(REGISTRY, repository, tag)]
    assert not own.cluster.tags


async def test_a_seed_asks_only_registries_that_it_may_reach(origin: OriginRegistry, tmp_path: Path) -> None:
    async with running_mirror(origin, tmp_path, any_registry=False) as mirror:
        await mirror.proxy.tags.resolve_for_cluster(ResolveTag("other.example", PUBLIC, "v1"))
        assert mirror.cluster.moved == [TagUnresolved("other.example", PUBLIC, "v1")]
        assert not origin.counters.requests


@pytest.mark.parametrize("media_type", ["text/html", "application/json"])
async def test_what_says_no_digest_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, media_type: str
) -> None:
    """A page, or anything else that stands before a registry, opens nothing to strangers."""
    secret = b"secret"

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if "/manifests/" in request.path:
            return web.Response(body=b"{}", content_type=media_type)
        allowed = request.headers.get("Authorization") == ANN[1]
        return web.Response(body=secret) if allowed else web.Response(status=401)

    blob = f"/v2/{PRIVATE}/blobs/{Digest.of(secret)}"
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        assert (await mirror.get(blob, ANN)).body == secret
        await asyncio.gather(*mirror.authoriser._jobs._running)
        now = mirror.authoriser.knowledge.now
        monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + REFUSED_TTL_S)
        passed = (await mirror.get(f"/v2/{PRIVATE}/manifests/v1", ACCEPT)).status == 200
        assert passed is (media_type != "text/html"), "what is passed on is the origin's own"
        await mirror.proxy.tags.resolve_for_cluster(ResolveTag(REGISTRY, PRIVATE, "v1"))
        assert not mirror.authoriser.knowledge.is_permitted(Place(REGISTRY, PRIVATE), None)
        assert (await mirror.get(blob)).status == 401


async def test_a_push_or_delete_makes_tags_new(tmp_path: Path, images: list[Image]) -> None:
    digest = images[0].root_digest
    manifest = says(200, b"{}", ("Docker-Content-Digest", digest), ("Content-Type", MEDIA_MANIFEST))

    def answer(request: web.BaseRequest) -> web.StreamResponse | Awaitable[web.StreamResponse]:
        return (manifest if request.method in ("HEAD", "GET") else says(201))(request)

    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        for tag in "v1", "v2":
            await mirror.head(f"/v2/{PUBLIC}/manifests/{tag}", ACCEPT)
        await mirror.ask("PUT", f"/v2/{PUBLIC}/manifests/v1?ns={REGISTRY}", [], b"{}")
        assert mirror.cluster.moved == [TagPushed(REGISTRY, PUBLIC, "v1")]
        await mirror.ask("DELETE", f"/v2/{PUBLIC}/manifests/{digest}?ns={REGISTRY}")
        assert mirror.cluster.moved[1:] == [TagPushed(REGISTRY, PUBLIC, "v2")]


async def test_a_push_that_fails_changes_nothing(tmp_path: Path) -> None:
    async with fake_origin(says(403)) as origin, running_mirror(origin, tmp_path) as mirror:
        await mirror.ask("PUT", f"/v2/{PUBLIC}/manifests/v1?ns={REGISTRY}", [], b"{}")
        assert not mirror.cluster.moved


@pytest.mark.parametrize(("status", "next_status"), [(403, 200), (401, 401)])
async def test_a_tag_that_may_not_be_read_closes_no_repository(
    tmp_path: Path, status: int, next_status: int
) -> None:
    """Artifactory answers 403 where there is no such tag: cosign asks for many. 401 is about who asks."""
    body = b'{"of": "a manifest"}'
    known = {"Docker-Content-Digest": str(Digest.of(body)), "Content-Type": MEDIA_MANIFEST}

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith(".sig"):
            return web.Response(status=status)
        return web.Response(body=body, headers=known)

    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        assert (await mirror.head(f"/v2/{PUBLIC}/manifests/sha256-0.sig", ACCEPT)).status == status
        assert (await mirror.head(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)).status == next_status


async def test_in_an_outage_each_client_gets_what_it_takes(tmp_path: Path) -> None:
    """To who takes images only, the registry gave one of them: that is not what the tag means to others."""
    bodies = {kind: f'{{"of": "{kind}"}}'.encode() for kind in (MEDIA_INDEX, MEDIA_MANIFEST)}
    digests = {kind: str(Digest.of(body)) for kind, body in bodies.items()}
    down = False

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        kind = MEDIA_INDEX if MEDIA_INDEX in request.headers.get("Accept", "") else MEDIA_MANIFEST
        if down:
            return web.Response(status=503)
        if request.headers.get("Accept") == "a/b":
            return web.Response(status=404)
        headers = {"Docker-Content-Digest": digests[kind], "Content-Type": kind}
        return web.Response(body=bodies[kind], headers=headers)

    images_only = ("Accept", MEDIA_MANIFEST)
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:

        async def told(*accept: tuple[str, str]) -> tuple[int, str | None, bool]:
            found = await mirror.head(f"/v2/{PUBLIC}/manifests/v1", *accept)
            return found.status, found.header("Docker-Content-Digest"), found.header("Warning") is not None

        assert await told(ACCEPT) == (200, digests[MEDIA_INDEX], False)
        assert await told(images_only) == (200, digests[MEDIA_MANIFEST], False)
        assert await told(("Accept", "a/b")) == (404, None, False)
        assert [report.digest for report in mirror.cluster.tags] == [digests[MEDIA_INDEX]]
        assert not mirror.cluster.moved, "it is there still"
        down = True
        assert await told(ACCEPT) == (200, digests[MEDIA_INDEX], True)
        assert await told(images_only) == (200, digests[MEDIA_MANIFEST], True)
        assert await told(("Accept", f"{MEDIA_INDEX}, c/d")) == (200, digests[MEDIA_INDEX], True)
        last = RepositoryAnswer(1, True, digests[MEDIA_INDEX], MEDIA_INDEX, len(bodies[MEDIA_INDEX]))
        mirror.cluster.answers[REGISTRY, PUBLIC, "v1", ""] = last
        assert (await told(("Accept", "a/b")))[0] == 502, "it takes none that is known"
