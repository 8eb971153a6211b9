"""Who gets what from the mirror: credentials, public and private repositories, outages, and no secret in sight."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.io.image import MEDIA_MANIFEST, Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from benchmarks.origin.faults import Fault, FaultKind, Where
from dfdaemon.io.origin_client import MANIFEST_TYPES, OriginSource
from dfdaemon.permissions import CREDENTIAL_TTL_S, DOWN_S, OUTAGE_S, PUBLIC_TTL_S, REFUSED_TTL_S, Place
from swarm.digest import Digest
from swarm.errors import OriginStatus
from swarm.repositories import RepositoryAnswer
from tests.support.fake_origin import fake_origin
from tests.support.mirror import REGISTRY, Mirror, content_of, running_mirror

ACCEPT = ("Accept", ", ".join((*MANIFEST_TYPES, "*/*")))
SECRET = "correct-horse-battery"
BASIC = ("Authorization", basic_header("ann", SECRET))
ACCOUNTS = {"ann": Account(SECRET)}
PUBLIC, PRIVATE = "team/public", "team/private"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    return [
        generate_image(tmp_path_factory.mktemp("image"), name, "v1", [20_000], seed=seed)
        for seed, name in enumerate([PUBLIC, PRIVATE])
    ]


@pytest.fixture
def public(images: list[Image]) -> Image:
    return images[0]


@pytest.fixture
def private(images: list[Image]) -> Image:
    return images[1]


@pytest.fixture
def mode() -> AuthMode:
    return AuthMode.BEARER


@pytest.fixture
async def origin(images: list[Image], mode: AuthMode) -> AsyncIterator[OriginRegistry]:
    policy = AccessPolicy(mode, ACCOUNTS, frozenset({PUBLIC}))
    async with OriginRegistry(images, OriginSettings(access=policy)) as registry:
        yield registry


@pytest.fixture
async def mirror(origin: OriginRegistry, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with running_mirror(origin, tmp_path) as running:
        yield running


def bearer(origin: OriginRegistry, repository: str) -> tuple[str, str]:
    """A fresh token of ann's, as containerd fetches it; the clock moves so that each is another."""
    answer = origin.gate.token(BASIC[1], [f"repository:{repository}:pull"], origin._clock())
    assert answer is not None
    return "Authorization", f"Bearer {answer['token']}"


async def settled(mirror: Mirror) -> None:
    """Wait for the authoriser's background probes."""
    await asyncio.gather(*mirror.authoriser._jobs._running)


async def test_the_challenge_of_a_private_repository_is_passed_on(mirror: Mirror, private: Image) -> None:
    answer = await mirror.get(f"/v2/{PRIVATE}/manifests/v1", ACCEPT)
    assert answer.status == 401
    challenges = answer.all("WWW-Authenticate")
    assert len(challenges) == 1
    assert challenges[0].startswith('Bearer realm="http://127.0.0.1:')
    assert challenges[0].endswith(f'scope="repository:{PRIVATE}:pull"'), (
        "as if the mirror had not tried itself"
    )


async def test_a_private_pull_with_the_clients_own_token(
    mirror: Mirror, origin: OriginRegistry, private: Image
) -> None:
    token = bearer(origin, PRIVATE)
    assert (await mirror.head(f"/v2/{PRIVATE}/manifests/v1", ACCEPT, token)).status == 200
    assert (await mirror.get(f"/v2/{PRIVATE}/manifests/{private.root_digest}", ACCEPT, token)).status == 200
    for blob in private.blobs:
        answer = await mirror.get(f"/v2/{PRIVATE}/blobs/{blob.digest}", token)
        assert (answer.status, answer.body) == (200, content_of(private, blob.digest))
    assert {source.authorization for source in mirror.blobs.sources} == {token[1]}
    assert origin.counters.requests["HEAD blob"] == 0
    await settled(mirror)
    assert not any(report.public for report in mirror.cluster.repositories)


async def test_a_cached_private_blob_is_not_given_to_strangers(
    mirror: Mirror, origin: OriginRegistry, private: Image
) -> None:
    path = f"/v2/{PRIVATE}/blobs/{private.layers[0].digest}"
    assert (await mirror.get(path, bearer(origin, PRIVATE))).status == 200
    assert (await mirror.get(path)).status == 401
    assert (await mirror.get(path, ("Authorization", "Bearer forged.token"))).status == 401
    assert (await mirror.head(path)).status == 401


async def test_a_digest_guessed_through_a_public_repository(
    mirror: Mirror, origin: OriginRegistry, private: Image
) -> None:
    assert (await mirror.get(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)).status == 200
    digest = private.layers[0].digest
    assert (await mirror.get(f"/v2/{PRIVATE}/blobs/{digest}", bearer(origin, PRIVATE))).status == 200
    answer = await mirror.get(f"/v2/{PUBLIC}/blobs/{digest}")
    assert answer.status == 404, "the origin of the named repository decides"
    assert answer.error["code"] == "BLOB_UNKNOWN"


async def test_a_credential_counts_for_a_while_only(
    mirror: Mirror, origin: OriginRegistry, private: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = bearer(origin, PRIVATE)
    path = f"/v2/{PRIVATE}/blobs/{private.layers[0].digest}"
    assert (await mirror.get(path, token)).status == 200
    await settled(mirror)
    heads = origin.counters.requests["HEAD blob"]
    assert (await mirror.get(path, token)).status == 200
    assert origin.counters.requests["HEAD blob"] == heads
    now = mirror.authoriser.knowledge.now
    monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + CREDENTIAL_TTL_S)
    assert (await mirror.get(path, token)).status == 200
    assert origin.counters.requests["HEAD blob"] == heads + 1
    origin.gate.policy = AccessPolicy(AuthMode.BEARER)
    monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + 3 * PUBLIC_TTL_S)
    origin.gate._key = b"rotated"
    assert (await mirror.get(path, token)).status == 401


async def test_a_public_repository_needs_no_token_of_the_client(
    mirror: Mirror, origin: OriginRegistry, public: Image
) -> None:
    answer = await mirror.get(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)
    assert answer.status == 200
    for blob in public.blobs:
        assert (await mirror.get(f"/v2/{PUBLIC}/blobs/{blob.digest}")).status == 200
    assert origin.counters.requests["GET token"] == 1
    mirror.authoriser.knowledge.close()
    reports = mirror.cluster.repositories
    assert any(report.public for report in reports)
    members = {member for report in reports for member in report.members}
    assert members == {public.root_digest, *(blob.digest for blob in public.blobs)}
    tag = mirror.cluster.tags[0]
    assert (tag.registry, tag.repository, tag.tag, tag.digest) == (REGISTRY, PUBLIC, "v1", public.root_digest)
    assert tag.size == len(content_of(public, public.root_digest))


async def test_a_public_repository_is_found_out_behind_a_client_with_a_token(
    mirror: Mirror, origin: OriginRegistry, public: Image
) -> None:
    path = f"/v2/{PUBLIC}/blobs/{public.layers[0].digest}"
    assert (await mirror.get(path, bearer(origin, PUBLIC))).status == 200
    await settled(mirror)
    heads = origin.counters.requests["HEAD blob"]
    assert (await mirror.get(path, ("Authorization", "Bearer another.token"))).status == 200
    assert origin.counters.requests["HEAD blob"] == heads


async def test_the_cluster_knows_that_a_repository_is_public(
    mirror: Mirror, origin: OriginRegistry, public: Image
) -> None:
    digest = public.layers[0].digest
    mirror.cluster.answers[REGISTRY, PUBLIC, "", digest] = RepositoryAnswer(1, public=True, member=True)
    source = OriginSource(REGISTRY, PUBLIC, Digest.parse(digest), "blob")
    await mirror.blobs.put(source, content_of(public, digest))
    answer = await mirror.get(f"/v2/{PUBLIC}/blobs/{digest}", ("Authorization", "Bearer x"))
    assert (answer.status, answer.body) == (200, content_of(public, digest))
    assert not origin.counters.requests


async def test_the_cluster_knows_of_a_private_repository_only_what_belongs_to_it(
    mirror: Mirror, private: Image
) -> None:
    digest = private.layers[0].digest
    mirror.cluster.answers[REGISTRY, PRIVATE, "", digest] = RepositoryAnswer(1, public=False, member=True)
    assert (await mirror.get(f"/v2/{PRIVATE}/blobs/{digest}")).status == 401


@pytest.mark.parametrize("mode", [AuthMode.BASIC])
async def test_basic_credentials_go_through(mirror: Mirror, private: Image) -> None:
    path = f"/v2/{PRIVATE}/manifests/v1"
    refused = await mirror.get(path, ACCEPT)
    assert refused.status == 401
    assert refused.all("WWW-Authenticate") == ['Basic realm="origin.test"']
    answer = await mirror.get(path, ACCEPT, BASIC)
    assert (answer.status, answer.body) == (200, content_of(private, private.root_digest))


async def test_in_an_outage_the_last_known_tag_is_served_and_marked(
    mirror: Mirror, origin: OriginRegistry, public: Image
) -> None:
    path = f"/v2/{PUBLIC}/manifests/v1"
    fresh = await mirror.get(path, ACCEPT)
    assert fresh.header("Warning") is None
    await origin.stop()
    for method in ("HEAD", "GET"):
        stale = await mirror.ask(method, f"{path}?ns={REGISTRY}", [ACCEPT])
        assert stale.status == 200
        assert stale.header("Docker-Content-Digest") == public.root_digest
        assert stale.header("Warning") == '110 - "Response is Stale"'
    assert stale.body == fresh.body
    assert len(mirror.noted("tag_stale")) == 2


async def test_in_an_outage_the_cluster_is_asked(
    mirror: Mirror, origin: OriginRegistry, public: Image
) -> None:
    await origin.stop()
    body = content_of(public, public.root_digest)
    known = RepositoryAnswer(1, True, public.root_digest, MEDIA_MANIFEST, len(body))
    mirror.cluster.answers[REGISTRY, PUBLIC, "v1", ""] = known
    source = OriginSource(REGISTRY, PUBLIC, Digest.parse(public.root_digest), "manifest")
    await mirror.blobs.put(source, body)
    answer = await mirror.get(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)
    assert (answer.status, answer.body) == (200, body)
    assert answer.header("Content-Type") == MEDIA_MANIFEST
    assert answer.header("Warning") is not None


async def test_in_an_outage_a_private_tag_of_the_cluster_is_not_told(
    mirror: Mirror, origin: OriginRegistry, private: Image
) -> None:
    await origin.stop()
    known = RepositoryAnswer(1, False, private.root_digest, MEDIA_MANIFEST, 1)
    mirror.cluster.answers[REGISTRY, PRIVATE, "v1", ""] = known
    answer = await mirror.get(f"/v2/{PRIVATE}/manifests/v1", ACCEPT)
    assert answer.status == 502
    assert REGISTRY in answer.error["message"]


async def test_in_an_outage_a_private_tag_needs_the_credential_of_a_moment_ago(
    mirror: Mirror, origin: OriginRegistry
) -> None:
    token = bearer(origin, PRIVATE)
    path = f"/v2/{PRIVATE}/manifests/v1"
    assert (await mirror.get(path, ACCEPT, token)).status == 200
    await settled(mirror)
    await origin.stop()
    assert (await mirror.get(path, ACCEPT, token)).status == 200
    assert (await mirror.get(path, ACCEPT)).status == 401, "the origin's own no of a moment ago"
    assert (await mirror.get(path, ACCEPT, ("Authorization", "Bearer other"))).status == 502


async def test_with_outage_deny_nothing_is_served_unasked(origin: OriginRegistry, tmp_path: Path) -> None:
    async with running_mirror(origin, tmp_path, outage="deny") as mirror:
        path = f"/v2/{PUBLIC}/manifests/v1"
        assert (await mirror.get(path, ACCEPT)).status == 200
        await origin.stop()
        assert (await mirror.get(path, ACCEPT)).status == 502


async def test_no_secret_in_answers_notes_and_reports(
    mirror: Mirror, origin: OriginRegistry, private: Image, caplog: pytest.LogCaptureFixture
) -> None:
    token = bearer(origin, PRIVATE)
    encoded = base64.b64encode(f"ann:{SECRET}".encode()).decode()
    secrets = (SECRET, encoded, token[1].split()[1])
    answers = []
    for credential in (token, BASIC):
        for path in ("manifests/v1", "manifests/none", f"blobs/{private.layers[0].digest}", "blobs/sha256:0"):
            answers.append(await mirror.get(f"/v2/{PRIVATE}/{path}", credential))
    answers.append(await mirror.ask("GET", f"http://ann:{SECRET}@host/v2/", [token]))
    malformed = await mirror.ask(
        "GET", "/v2/", [("Bad\x01Header", SECRET), token]
    )  # tells its own sender alone
    assert malformed.status == 400
    await origin.stop()
    answers.append(await mirror.get(f"/v2/{PRIVATE}/manifests/none", token))
    assert {answer.status for answer in answers} >= {200, 400, 401, 404, 502}
    shown = [repr(answers), repr(mirror.notes), repr(mirror.cluster.repositories), caplog.text]
    shown += [repr(mirror.blobs.sources), json.dumps([str(note) for note in mirror.notes])]
    for text in shown:
        assert not any(secret in text for secret in secrets)


async def test_in_an_outage_the_origin_is_not_asked_again_for_what_is_known(
    mirror: Mirror, origin: OriginRegistry, public: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.faults.append(Fault(FaultKind.STATUS, where=Where.MANIFEST, method="HEAD", status=503, times=None))
    first = RepositoryAnswer(1, True, public.root_digest, MEDIA_MANIFEST, 300)
    mirror.cluster.answers[REGISTRY, PUBLIC, "v1", ""] = first
    assert (await mirror.head(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)).header("Warning")
    asked = origin.counters.requests.total()
    assert (await mirror.head(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)).header("Warning")
    assert origin.counters.requests.total() == asked
    assert (await mirror.head(f"/v2/{PUBLIC}/manifests/unknown", ACCEPT)).status == 502
    assert origin.counters.requests.total() > asked, "what is not known is asked for"
    now = mirror.authoriser.knowledge.now
    monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + DOWN_S)
    origin.faults.clear()
    assert (await mirror.head(f"/v2/{PUBLIC}/manifests/v1", ACCEPT)).header("Warning") is None


async def test_in_an_outage_a_credential_counts_for_an_hour(
    mirror: Mirror, origin: OriginRegistry, private: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = bearer(origin, PRIVATE)
    path = f"/v2/{PRIVATE}/blobs/{private.layers[0].digest}"
    assert (await mirror.get(path, token)).status == 200
    await settled(mirror)
    await origin.stop()
    now = mirror.authoriser.knowledge.now
    for later, status in (CREDENTIAL_TTL_S, 200), (OUTAGE_S - 10, 200), (OUTAGE_S, 502):
        monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda later=later: now() + later)
        assert (await mirror.get(path, token)).status == status


async def test_a_credential_that_is_revoked_is_worth_nothing_in_an_outage(
    mirror: Mirror, origin: OriginRegistry, private: Image
) -> None:
    token = bearer(origin, PRIVATE)
    path = f"/v2/{PRIVATE}/blobs/{private.layers[0].digest}"
    assert (await mirror.get(path, token)).status == 200
    origin.gate._key = b"rotated"
    assert (await mirror.get(f"/v2/{PRIVATE}/manifests/v1", ACCEPT, token)).status == 401
    assert (await mirror.get(path, token)).status == 401, "at once, not after the TTL"
    await origin.stop()
    assert (await mirror.get(path, token)).status in (401, 502)


@pytest.mark.parametrize(
    ("headers", "status", "next_status"), [((), 403, 200), ((BASIC,), 403, 200), ((), 401, 401)]
)
async def test_a_digest_that_is_withheld_closes_no_repository(
    tmp_path: Path, headers: tuple[tuple[str, str], ...], status: int, next_status: int
) -> None:
    """A scanner lets nobody have one layer. 401 is about who asks."""
    good, bad = Digest.of(b"good"), Digest.of(b"bad")

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"good") if str(good) in request.path else web.Response(status=status)

    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        assert (await mirror.get(f"/v2/{PUBLIC}/blobs/{good}", *headers)).status == 200
        await settled(mirror)
        for _ in range(2):
            assert (await mirror.get(f"/v2/{PUBLIC}/blobs/{bad}", *headers)).status == status
        assert sum(str(bad) in seen.path for seen in origin.seen) == 1, "the no is repeated for a moment"
        assert (await mirror.get(f"/v2/{PUBLIC}/blobs/{good}", *headers)).status == next_status


async def test_content_that_is_withheld_from_now_on_is_not_given_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, withheld = b"content", False

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=403) if withheld else web.Response(body=body)

    path = f"/v2/{PUBLIC}/blobs/{Digest.of(body)}"
    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        assert (await mirror.head(path)).status == 200
        withheld = True
        source = OriginSource(REGISTRY, PUBLIC, Digest.of(body), "blob")
        with pytest.raises(OriginStatus):
            await mirror.authoriser.authorise_anew(source)
        now = mirror.authoriser.knowledge.now
        for later in 0, REFUSED_TTL_S:
            monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda later=later: now() + later)
            assert (await mirror.get(path)).status == 403
        assert mirror.authoriser.knowledge.is_permitted(Place(REGISTRY, PUBLIC), None)


async def test_with_outage_deny_blobs_are_served_no_longer_than_the_ttl(
    origin: OriginRegistry, private: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_mirror(origin, tmp_path, outage="deny") as mirror:
        token = bearer(origin, PRIVATE)
        path = f"/v2/{PRIVATE}/blobs/{private.layers[0].digest}"
        assert (await mirror.get(path, token)).status == 200
        await settled(mirror)
        await origin.stop()
        assert (await mirror.get(path, token)).status == 200, "the registry's word still counts"
        now = mirror.authoriser.knowledge.now
        monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + CREDENTIAL_TTL_S)
        assert (await mirror.get(path, token)).status == 502


async def test_a_public_repository_that_becomes_private_is_noticed_everywhere(
    mirror: Mirror, origin: OriginRegistry, public: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v2/{PUBLIC}/blobs/{public.layers[0].digest}"
    assert (await mirror.get(path)).status == 200
    origin.gate.policy = AccessPolicy(AuthMode.BEARER, ACCOUNTS)
    origin.gate._key = b"rotated"
    now = mirror.authoriser.knowledge.now
    monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + PUBLIC_TTL_S)
    old = RepositoryAnswer(1, True, member=True, public_age_s=PUBLIC_TTL_S + 1)
    mirror.cluster.answers[REGISTRY, PUBLIC, "", public.layers[0].digest] = old
    assert (await mirror.get(path)).status == 401, "what the cluster knows is too old"
    mirror.authoriser.knowledge.close()
    assert mirror.cluster.repositories[-1].closed


async def test_a_herd_of_clients_with_one_credential_is_one_question(
    mirror: Mirror, origin: OriginRegistry, private: Image
) -> None:
    origin.faults.append(Fault(FaultKind.SLOW_HEADERS, method="HEAD", seconds=0.2))
    token = bearer(origin, PRIVATE)
    path = f"/v2/{PRIVATE}/blobs/{private.layers[0].digest}"
    ranges = [("Range", f"bytes={number}-") for number in range(5)]
    answers = await asyncio.gather(*(mirror.get(path, token, ranged) for ranged in ranges))
    assert {answer.status for answer in answers} == {206}
    await settled(mirror)
    assert origin.counters.requests["HEAD blob"] == 3, (
        "one, and two as a stranger: without a token and with one"
    )


@pytest.mark.parametrize(
    ("known", "let_in"),
    [(RepositoryAnswer(1, False, closed=True), False), (RepositoryAnswer(1, True), True)],
)
async def test_whether_strangers_are_let_in_one_host_finds_out_for_all(
    mirror: Mirror, origin: OriginRegistry, private: Image, known: RepositoryAnswer, let_in: bool
) -> None:
    mirror.cluster.answers[REGISTRY, PRIVATE, "", ""] = known
    assert (await mirror.get(f"/v2/{PRIVATE}/manifests/v1", ACCEPT, bearer(origin, PRIVATE))).status == 200
    await settled(mirror)
    heads = sum(count for kind, count in origin.counters.requests.items() if kind.startswith("HEAD"))
    assert heads == 1, "this host asked with its client's credential only"
    assert mirror.authoriser.knowledge.is_permitted(Place(REGISTRY, PRIVATE), None) is let_in


async def test_where_a_stranger_was_refused_just_now_no_probe_is_sent(
    mirror: Mirror, origin: OriginRegistry, private: Image
) -> None:
    path = f"/v2/{PRIVATE}/manifests/v1"
    assert (await mirror.head(path, ACCEPT)).status == 401
    asked = origin.counters.requests.total()
    assert (await mirror.head(path, ACCEPT, bearer(origin, PRIVATE))).status == 200
    await settled(mirror)
    assert origin.counters.requests.total() == asked + 1


@pytest.mark.parametrize("mode", [AuthMode.BASIC])
async def test_in_an_outage_strangers_are_asked_who_they_are_as_the_registry_did(
    mirror: Mirror, origin: OriginRegistry, private: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v2/{PRIVATE}/manifests/v1"
    asked = await mirror.get(path, ACCEPT)
    assert (await mirror.get(path, ACCEPT, BASIC)).status == 200
    await settled(mirror)
    await origin.stop()
    now = mirror.authoriser.knowledge.now
    monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + OUTAGE_S / 2)
    for reference in "manifests/v1", f"manifests/{private.root_digest}", f"blobs/{private.config.digest}":
        again = await mirror.get(f"/v2/{PRIVATE}/{reference}", ACCEPT)
        assert (again.status, again.all("WWW-Authenticate")) == (401, asked.all("WWW-Authenticate"))
    assert (await mirror.get(path, ACCEPT, BASIC)).status == 200
    other = ("Authorization", basic_header("ann", "wrong"))
    assert (await mirror.get(path, ACCEPT, other)).status == 502


@pytest.mark.parametrize("outage", ["503", "429", "refuses connections"])
async def test_a_token_endpoint_that_is_down_makes_nothing_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outage: str
) -> None:
    """The registry asks for a token as ever: what was public is served, and the others are told no other thing."""
    blob, unknown = Digest.of(b"content"), Digest.of(b"other")
    realm, down = "", False

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            token = {"token": "t", "expires_in": 0.000001}
            return web.Response(status=int(outage)) if down else web.json_response(token)
        if request.headers.get("Authorization") != "Bearer t":
            challenge = f'Bearer realm="{realm}",service="s"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.Response(body=b"content")

    async with fake_origin(answer) as origin, running_mirror(origin, tmp_path) as mirror:
        realm = f"{origin.url}/token"
        assert (await mirror.get(f"/v2/{PUBLIC}/blobs/{blob}")).body == b"content"
        down = True
        realm = realm if outage.isdecimal() else "http://127.0.0.1:1/token"
        now = mirror.authoriser.knowledge.now
        monkeypatch.setattr(mirror.authoriser.knowledge, "now", lambda: now() + PUBLIC_TTL_S + 1)
        assert (await mirror.get(f"/v2/{PUBLIC}/blobs/{blob}")).body == b"content"
        refused = await mirror.get(f"/v2/{PUBLIC}/blobs/{unknown}")
        assert refused.status == 401, "a client may reach the endpoint"
        assert refused.all("WWW-Authenticate") == [f'Bearer realm="{realm}",service="s"']
        assert (await mirror.get(f"/v2/{PUBLIC}/blobs/{blob}")).status == 200, "nobody was refused"
        mirror.authoriser.knowledge.close()
        assert not any(report.closed for report in mirror.cluster.repositories)
