"""Two users, one private repository, one daemon, in front of a real registry with a token server.

Ann may read it, and has pulled it; Bob, and strangers, may not. Whatever they ask for, and however, they get the
registry's own no, and nothing from the cache.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.io.image import MEDIA_INDEX, MEDIA_MANIFEST, Image, blob_path, generate_image
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from tests.support.cluster import Cluster, Daemon
from tests.support.containerd import REGISTRY, reference
from tests.support.docker_registry import DockerRegistry
from tests.support.http_client import Reply, fetch
from tests.support.processes import ProcessFailed, short_directory
from tests.support.token_server import SERVICE, TokenServer

pytestmark = pytest.mark.needs("docker-registry")

PRIVATE, PUBLIC = "team/private", "team/public"
PASSWORDS = {"ann": "correct-horse-battery", "bob": "tr0ub4dor-and-3"}
POLICY = AccessPolicy(
    AuthMode.BEARER,
    {"ann": Account(PASSWORDS["ann"]), "bob": Account(PASSWORDS["bob"], frozenset())},
    frozenset({PUBLIC}),
)
Header = tuple[str, str]
ACCEPT: Header = ("Accept", f"{MEDIA_MANIFEST}, {MEDIA_INDEX}")
REFUSED = {401, 403}
UNANSWERED = {502, 503, 504}


@dataclass(frozen=True, slots=True)
class Scene:
    """A registry that is up until a test stops it, and daemons under both policies, which ann has pulled through."""

    registry: DockerRegistry
    tokens: TokenServer
    allowing: Daemon
    denying: Daemon
    private: Image
    public: Image

    def token(self, user: str | None, repository: str = PRIVATE) -> list[Header]:
        """The Authorization header that a user gets for a repository at the token server."""
        basic = basic_header(user, PASSWORDS[user]) if user is not None else None
        scope = f"repository:{repository}:pull"
        headers = [("Authorization", basic)] if basic is not None else []
        answer = fetch("GET", f"{self.tokens.realm}?service={SERVICE}&scope={scope}", headers)
        return [("Authorization", f"Bearer {answer.json()['token']}")]

    def forms(self) -> list[tuple[str, str, list[Header]]]:
        """Every way to ask for something private: method, path, headers."""
        layer, config = self.private.layers[0].digest, self.private.config.digest
        paths = [f"/v2/{PRIVATE}/manifests/{ref}" for ref in self.references()]
        paths += [f"/v2/{PRIVATE}/blobs/{digest}" for digest in (layer, config)]
        forms: list[tuple[str, str, list[Header]]] = [
            (method, f"{path}?ns={REGISTRY}", [ACCEPT]) for path in paths for method in ("GET", "HEAD")
        ]
        for spans in "0-99", "100-", "-5", "0-1,5-9":
            forms.append(("GET", f"/v2/{PRIVATE}/blobs/{layer}?ns={REGISTRY}", [("Range", f"bytes={spans}")]))
        forms.append(("GET", f"/v2/{REGISTRY}/{PRIVATE}/blobs/{layer}", []))
        forms.append(("GET", f"/v2/{PRIVATE}/blobs/{layer}", [("OCI-Namespace", REGISTRY)]))
        return forms

    def references(self) -> tuple[str, str, str]:
        """The tag, the index and the manifest."""
        return "v1", self.private.root_digest, self.private.manifest_digest

    def elsewhere(self) -> list[str]:
        """Paths that name private content in a repository that anybody may read."""
        blobs = [f"/v2/{PUBLIC}/blobs/{blob.digest}" for blob in self.private.blobs]
        return [*blobs, *(f"/v2/{PUBLIC}/manifests/{ref}" for ref in self.references()[1:])]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    return [
        generate_image(tmp_path_factory.mktemp("image"), name, "v1", [300_000], seed=seed, with_index=True)
        for seed, name in enumerate([PRIVATE, PUBLIC])
    ]


@pytest.fixture(scope="module")
def whole_scene(tmp_path_factory: pytest.TempPathFactory, images: list[Image]) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("registry")
    with short_directory() as folder, TokenServer(directory, POLICY) as tokens:
        registry = DockerRegistry(directory, tokens=tokens)
        for image in images:
            registry.place(image)
        with registry, Cluster(Path(folder), registry.url) as cluster:
            once = {"origin": {"retries": 1}}  # a registry that is down is not asked again and again
            (allowing,) = cluster.daemons("allowing", settings=once)
            (denying,) = cluster.daemons("denying", settings={**once, "mirror": {"outage": "deny"}})
            found = Scene(registry, tokens, allowing, denying, *images)
            for daemon in allowing, denying:
                assert all(got.status in (200, 206) for got in ask_all(found, daemon, found.token("ann")))
            yield found


@pytest.fixture
def scene(whole_scene: Scene) -> Scene:
    """The scene, with a registry that runs: a test may have stopped it."""
    if not whole_scene.registry.process.running:
        whole_scene.registry.start()
    return whole_scene


def ask_all(scene: Scene, daemon: Daemon, who: list[Header]) -> list[Reply]:
    """Ask for everything private in every form."""
    return [
        fetch(method, daemon.url + path, [*headers, *who], timeout_s=30.0)
        for method, path, headers in scene.forms()
    ]


def secrets_of(*tokens: list[Header]) -> list[str]:
    """All forms of everybody's secrets."""
    basics = [base64.b64encode(f"{user}:{word}".encode()).decode() for user, word in PASSWORDS.items()]
    return [*PASSWORDS.values(), *basics, *(headers[0][1].split()[1] for headers in tokens)]


def nothing_private(scene: Scene, replies: list[Reply]) -> bool:
    """Whether no answer has bytes of the private image."""
    contents = [blob_path(scene.private.directory, blob.digest).read_bytes() for blob in scene.private.blobs]
    contents += [blob_path(scene.private.directory, digest).read_bytes() for digest in scene.references()[1:]]
    return not any(reply.body and reply.body in content for reply in replies for content in contents)


def test_who_may_not_gets_the_registrys_no_in_every_form(scene: Scene) -> None:
    ann, bob, stranger = scene.token("ann"), scene.token("bob"), scene.token(None)
    forged: list[Header] = [("Authorization", "Bearer forged.token.here")]
    for who in bob, stranger, forged, []:
        replies = ask_all(scene, scene.allowing, who)
        assert {reply.status for reply in replies} <= REFUSED
        assert nothing_private(scene, replies)
        challenges = {reply.headers["WWW-Authenticate"] for reply in replies if reply.status == 401}
        direct = fetch("GET", f"{scene.registry.url}/v2/{PRIVATE}/manifests/v1", who)
        assert challenges == {direct.headers["WWW-Authenticate"]}, "the registry's own challenge, unchanged"
    scene.registry.forget_traffic()
    replies = ask_all(scene, scene.allowing, ann)
    assert {reply.status for reply in replies} == {200, 206}
    assert scene.registry.settled_traffic(0).total_blob_bytes == 0, "ann pulls from the cache"


def test_a_digest_opens_nothing_through_a_public_repository(scene: Scene) -> None:
    public = f"{scene.allowing.url}/v2/{PUBLIC}/manifests/v1?ns={REGISTRY}"
    assert fetch("GET", public, [ACCEPT]).status == 200, "now it is known to be public"
    for who in [], scene.token("bob", PUBLIC), scene.token("ann", PUBLIC):
        replies = [
            fetch("GET", f"{scene.allowing.url}{path}?ns={REGISTRY}", [ACCEPT, *who])
            for path in scene.elsewhere()
        ]
        assert {reply.status for reply in replies} == {404}, "the registry says what is in it"
        assert nothing_private(scene, replies)


def test_the_tools_of_the_machine_open_nothing(scene: Scene) -> None:
    layer = scene.private.layers[0].digest
    for what in f"{REGISTRY}/{PRIVATE}:v1", f"https://{REGISTRY}/v2/{PRIVATE}/blobs/{layer}":
        with pytest.raises(ProcessFailed, match="status 401"):
            scene.allowing.dfget(what)
    with pytest.raises(ProcessFailed, match="status 401"):
        scene.allowing.dfctl("explain", f"{REGISTRY}/{PRIVATE}:v1")


def test_in_an_outage_who_was_allowed_is_allowed_and_nobody_else(scene: Scene) -> None:
    ann, bob = scene.token("ann"), scene.token("bob")
    assert {reply.status for reply in ask_all(scene, scene.allowing, ann)} == {200, 206}
    scene.registry.stop()
    replies = ask_all(scene, scene.allowing, ann)
    assert {reply.status for reply in replies} == {200, 206}
    tag = fetch("GET", f"{scene.allowing.url}/v2/{PRIVATE}/manifests/v1?ns={REGISTRY}", [ACCEPT, *ann])
    assert tag.headers["Warning"].startswith("110 ")
    for who in bob, scene.token(None), []:
        replies = ask_all(scene, scene.allowing, who)
        assert {reply.status for reply in replies} <= REFUSED | UNANSWERED
        assert nothing_private(scene, replies)
    assert scene.allowing.metric("events_total", event="tag_stale") > 0


def test_in_an_outage_with_deny_no_tag_is_answered_and_nobody_new_let_in(scene: Scene) -> None:
    ann, bob = scene.token("ann"), scene.token("bob")
    scene.registry.stop()
    path = f"/v2/{PRIVATE}/manifests/v1?ns={REGISTRY}"
    for method in "GET", "HEAD":
        assert fetch(method, scene.denying.url + path, [ACCEPT, *ann], timeout_s=30.0).status in UNANSWERED
    for who in ann, bob, []:  # that token of ann's was never shown before
        replies = ask_all(scene, scene.denying, who)
        assert {reply.status for reply in replies} <= REFUSED | UNANSWERED
        assert nothing_private(scene, replies)


def test_no_secret_is_in_logs_metrics_answers_or_on_disk(scene: Scene) -> None:
    tokens = [scene.token(user) for user in ("ann", "bob", None)]
    replies = [reply for who in tokens for reply in ask_all(scene, scene.allowing, who)]
    basic = ("Authorization", basic_header("ann", PASSWORDS["ann"]))
    replies += [
        fetch("GET", f"{scene.allowing.url}{path}", [ACCEPT, header])
        for path in (
            f"/v2/{PRIVATE}/manifests/none?ns={REGISTRY}",
            f"/v2/{PRIVATE}/blobs/sha256:0?ns={REGISTRY}",
            f"/v2/{PRIVATE}/tags/list?ns={REGISTRY}",
            f"/v2/{PRIVATE}/manifests/v1?ns=10.0.0.1",
            f"/v2/{PRIVATE}/manifests/v1?ns=unknown.invalid",
            "/v2/UPPER/manifests/v1",
        )
        for header in (tokens[0][0], basic)
    ]
    with pytest.raises(ProcessFailed) as failed:
        scene.allowing.dfget(f"{REGISTRY}/{PRIVATE}:v1", "--user", "ann")
    scene.registry.stop()
    replies += [reply for who in tokens for reply in ask_all(scene, scene.allowing, who)]
    metrics = fetch("GET", f"http://{scene.allowing.metrics_address}/metrics").body.decode()
    refusals = [reply.body.decode() for reply in replies if reply.status >= 400]
    shown = [scene.allowing.log(), scene.denying.log(), metrics, str(failed.value), *refusals]
    shown += [str(reply.headers) for reply in replies]
    shown.append(
        json.dumps(scene.allowing.status()) + json.dumps(scene.allowing.explain(scene.private.root_digest))
    )
    small = [path for path in scene.allowing.store.rglob("*") if path.is_file() and path.name != "data"]
    shown += [path.read_bytes().decode("latin-1") for path in small]
    for secret in secrets_of(*tokens):
        assert not [text for text in shown if secret in text]


@pytest.mark.needs("containerd", "apache2-utils", root=True)
def test_containerd_pulls_in_an_outage_what_its_user_could_pull_before(
    tmp_path: Path, images: list[Image]
) -> None:
    """It says who it is only when it is asked, and nobody else can ask it now."""
    private = images[0]
    registry = DockerRegistry(tmp_path, accounts=PASSWORDS)
    registry.place(private)
    with registry, short_directory() as folder, Cluster(Path(folder), registry.url) as cluster:
        (one,) = cluster.nodes("one")
        one.containerd.pull(reference(private), credentials=f"ann:{PASSWORDS['ann']}")
        one.containerd.images_rm(reference(private))
        registry.stop()
        with pytest.raises(ProcessFailed):
            one.containerd.pull(reference(private), credentials="ann:wrong")
        with pytest.raises(ProcessFailed):
            one.containerd.pull(reference(private))
        one.containerd.pull(reference(private), credentials=f"ann:{PASSWORDS['ann']}")
        assert one.containerd.wrong_blobs(private) == []
        assert one.daemon.metric("events_total", event="tag_stale") > 0
