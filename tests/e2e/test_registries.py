"""Real clients and real registries, with a mirror between them: pull, pull by digest, push, list, delete, referrers.

docs/compatibility.md names these tests cell by cell. containerd finds no server but the mirror, so that nothing is
pulled past it; skopeo knows the mirror alone.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.io.image import MEDIA_MANIFEST, Image, generate_image
from tests.support.cluster import Daemon
from tests.support.containerd import PULL_S, REGISTRY, Containerd, reference
from tests.support.docker_registry import SKOPEO_S
from tests.support.http_client import fetch
from tests.support.processes import ProcessFailed, run, short_directory
from tests.support.registry_scenes import PASSWORD, USER, Builder, Scene

pytestmark = pytest.mark.needs(
    "containerd", "docker-registry", "skopeo", "apache2-utils", "nginx-light", root=True
)

MB = 1_000_000
NOWHERE = "http://127.0.0.1:1"
KINDS = ["plain", "basic", "token", "lent", "cache", "mirrored", "tls", "mtls", "redirect"]
WRITABLE = ["plain", "basic", "token", "tls", "mtls"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "test/img", "v1", [3 * MB, 1000], with_index=True)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Iterator[dict[str, Scene]]:
    with ExitStack() as stack:
        found = {}
        for kind in KINDS:
            builder = Builder(stack, tmp_path_factory.mktemp(kind), image)
            found[kind] = getattr(builder, kind)()
        yield found


@pytest.fixture(scope="module")
def containerd() -> Iterator[Containerd]:
    with short_directory() as directory, Containerd(directory) as node:
        yield node


@pytest.fixture
def node(containerd: Containerd, image: Image) -> Iterator[Containerd]:
    """A containerd that holds nothing."""
    yield containerd
    names = containerd.ctr("images", "ls", "-q", timeout_s=PULL_S).split()
    if names:
        containerd.images_rm(*names)


@pytest.mark.parametrize("kind", KINDS)
def test_containerd_pulls(scenes: dict[str, Scene], node: Containerd, image: Image, kind: str) -> None:
    scene = scenes[kind]
    node.use_mirror(scene.daemon.url, NOWHERE)
    node.pull(reference(image), credentials=scene.credentials)
    assert node.wrong_blobs(image) == []


@pytest.mark.parametrize("kind", KINDS)
def test_containerd_pulls_by_digest(
    scenes: dict[str, Scene], node: Containerd, image: Image, kind: str
) -> None:
    scene = scenes[kind]
    node.use_mirror(scene.daemon.url, NOWHERE)
    node.pull(f"{REGISTRY}/{image.name}@{image.root_digest}", credentials=scene.credentials)
    assert node.wrong_blobs(image) == []


@pytest.mark.parametrize("kind", KINDS)
def test_kubelet_pulls(scenes: dict[str, Scene], node: Containerd, image: Image, kind: str) -> None:
    scene = scenes[kind]
    node.use_mirror(scene.daemon.url, NOWHERE)
    secret = {"user": USER, "password": PASSWORD} if scene.private else {}
    node.cri.pull(reference(image), timeout_s=PULL_S, **secret)
    status = node.cri.status(reference(image))
    assert status is not None
    node.cri.remove(reference(image))


@pytest.mark.parametrize("kind", KINDS)
def test_skopeo_pulls(scenes: dict[str, Scene], tmp_path: Path, image: Image, kind: str) -> None:
    scene = scenes[kind]
    creds = [f"--src-creds={scene.credentials}"] if scene.private else []
    target = f"oci:{tmp_path / 'copy'}:v1"
    run(["skopeo", "copy", "--all", "--src-tls-verify=false", *creds, scene.name(image), target], SKOPEO_S)
    for digest, size in image.blobs:
        blob = tmp_path / "copy/blobs/sha256" / digest.removeprefix("sha256:")
        assert blob.stat().st_size == size


def registries_conf(daemon: Daemon, directory: Path) -> Path:
    """Of CRI-O, podman and buildah: the mirror's location has the registry in its path, the registry is away."""
    conf = directory / "registries.conf"
    conf.write_text(
        f'[[registry]]\nprefix = "{REGISTRY}"\nlocation = "127.0.0.1:1"\n'
        f'[[registry.mirror]]\nlocation = "{daemon.mirror}/{REGISTRY}"\ninsecure = true\n'
    )
    return conf


@pytest.mark.needs("buildah")
def test_buildah_pulls_by_its_mirror_and_pushes(
    scenes: dict[str, Scene], tmp_path: Path, image: Image
) -> None:
    scene = scenes["plain"]
    conf = registries_conf(scene.daemon, tmp_path)
    places = [f"--root={tmp_path / 'root'}", f"--runroot={tmp_path / 'run'}", "--storage-driver=vfs"]
    buildah = ["buildah", *places, f"--registries-conf={conf}"]
    run([*buildah, "pull", "--quiet", reference(image)], SKOPEO_S)
    target = f"docker://{scene.daemon.mirror}/test/by-buildah:v1"
    run([*buildah, "push", "--quiet", "--tls-verify=false", reference(image), target], SKOPEO_S)
    described = json.loads(scene.skopeo("inspect", "--raw", target))
    assert len(described["layers"]) == len(image.layers)


@pytest.mark.parametrize("kind", ["plain", "tls", "redirect"])
def test_the_library_of_podman_and_crio_pulls_by_a_mirror_of_its_own_configuration(
    scenes: dict[str, Scene], tmp_path: Path, image: Image, kind: str
) -> None:
    conf = registries_conf(scenes[kind].daemon, tmp_path)
    source, target = f"docker://{reference(image)}", f"oci:{tmp_path / 'copy'}:v1"
    run(["skopeo", f"--registries-conf={conf}", "copy", "--all", source, target], SKOPEO_S)
    for digest, size in image.blobs:
        assert (tmp_path / "copy/blobs/sha256" / digest.removeprefix("sha256:")).stat().st_size == size


@pytest.mark.parametrize("kind", WRITABLE)
def test_skopeo_pushes_lists_and_deletes(scenes: dict[str, Scene], tmp_path: Path, kind: str) -> None:
    scene = scenes[kind]
    pushed = generate_image(tmp_path, f"test/pushed-{kind}", "v1", [2 * MB, 500], seed=7, with_index=True)
    scene.push(pushed)
    scene.push(replace(pushed, tag="v1"))  # what is there already is not sent again
    name = f"docker://{scene.daemon.mirror}/{pushed.name}"
    assert json.loads(scene.skopeo("list-tags", name))["Tags"] == ["v1"]
    described = json.loads(scene.skopeo("inspect", "--raw", f"{name}:v1"))
    assert [entry["digest"] for entry in described["manifests"]] == [pushed.manifest_digest]
    scene.skopeo("delete", f"{name}:v1")
    with pytest.raises(ProcessFailed):
        scene.skopeo("inspect", "--raw", f"{name}:v1")


def test_an_image_in_the_format_of_docker(
    scenes: dict[str, Scene], node: Containerd, tmp_path: Path, image: Image
) -> None:
    """Manifests of schema 2, and a list of them."""
    scene = scenes["plain"]
    name = f"{scene.daemon.mirror}/test/docker:v1"
    source, plain = f"oci:{image.directory}:{image.tag}", "--dest-tls-verify=false"
    run(["skopeo", "copy", "--all", "--format=v2s2", plain, source, f"docker://{name}"], SKOPEO_S)
    described = json.loads(scene.skopeo("inspect", "--raw", f"docker://{name}"))
    assert described["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    node.use_mirror(scene.daemon.url, NOWHERE)
    node.pull(f"{REGISTRY}/test/docker:v1")


def test_an_account_that_is_lent_does_not_push(scenes: dict[str, Scene]) -> None:
    scene = scenes["lent"]
    assert scene.get("/v2/test/img/tags/list").status == 200
    assert (
        fetch("POST", f"{scene.daemon.url}/v2/test/new/blobs/uploads/?ns={REGISTRY}", body=b"").status == 401
    )


@pytest.mark.parametrize("kind", ["cache", "redirect"])
def test_what_a_registry_does_not_take_is_its_own_answer(
    scenes: dict[str, Scene], tmp_path: Path, kind: str
) -> None:
    url = f"{scenes[kind].daemon.url}/v2/test/new/blobs/uploads/?ns={REGISTRY}"
    reply = fetch("POST", url, body=b"")
    assert reply.status in (404, 405)


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_referrers_of_a_registry_without_them_and_the_tag_in_their_place(
    scenes: dict[str, Scene], image: Image, kind: str
) -> None:
    """oras and cosign: 404 of the referrers API means the tag sha256-HEX (OCI distribution 1.1)."""
    scene = scenes[kind]
    subject = image.manifest_digest
    assert scene.get(f"/v2/{image.name}/referrers/{subject}").status == 404
    listed = {"mediaType": MEDIA_MANIFEST, "digest": subject, "size": 1, "artifactType": "test/sbom"}
    index = {"schemaVersion": 2, "manifests": [listed]}
    media_type = "application/vnd.oci.image.index.v1+json"
    body = json.dumps(index | {"mediaType": media_type}).encode()
    tag = f"/v2/{image.name}/manifests/{subject.replace(':', '-')}"
    pushed = fetch("PUT", f"{scene.daemon.url}{tag}?ns={REGISTRY}", [("Content-Type", media_type)], body=body)
    assert pushed.status == 201
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert pushed.headers["Location"] == f"/v2/{image.name}/manifests/{digest}?ns={REGISTRY}"
    found = scene.get(tag, ("Accept", media_type))
    assert (found.status, found.body) == (200, body)


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_list_goes_on_at_the_mirror(scenes: dict[str, Scene], image: Image, kind: str) -> None:
    scene = scenes[kind]
    for tag in ("a", "b"):
        scene.push(_tagged(image, tag))
    tags: list[str] = []
    path = f"/v2/{image.name}/tags/list?n=1&ns={REGISTRY}"
    while path:
        reply = fetch("GET", scene.daemon.url + path)
        tags += reply.json()["tags"]
        link = reply.headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0]
        assert not path or path.startswith("/v2/")
    assert {"a", "b", "v1"} <= set(tags)
    assert image.name in scene.get("/v2/_catalog").json()["repositories"]


def _tagged(image: Image, tag: str) -> Image:
    """The image under another tag; its layout names it too."""
    index = image.directory / "index.json"
    document = json.loads(index.read_text())
    first = document["manifests"][0]
    others = [entry for entry in document["manifests"] if entry["annotations"] != _named(tag)]
    index.write_text(json.dumps(document | {"manifests": [*others, {**first, "annotations": _named(tag)}]}))
    return replace(image, tag=tag)


def _named(tag: str) -> dict[str, str]:
    return {"org.opencontainers.image.ref.name": tag}


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_a_stranger_gets_the_registrys_own_challenge(
    scenes: dict[str, Scene], node: Containerd, image: Image, kind: str
) -> None:
    scene = scenes[kind]
    for path in (
        f"manifests/{image.tag}",
        f"manifests/{image.root_digest}",
        f"blobs/{image.layers[0].digest}",
    ):
        reply = scene.get(f"/v2/{image.name}/{path}")
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"].lower().startswith("b")
    node.use_mirror(scene.daemon.url, NOWHERE)
    with pytest.raises(ProcessFailed):
        node.pull(reference(image))


def test_no_secret_is_in_a_log(scenes: dict[str, Scene]) -> None:
    for scene in scenes.values():
        log = scene.daemon.log()
        assert PASSWORD not in log
        assert "Basic " not in log
        assert "Bearer ey" not in log
        assert "please report this" not in log
