"""What cannot be served gets a clear error, reaches no origin, and changes nothing."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.io.image import Image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.background import in_background
from tests.support.cluster import ROOT, Cluster, Daemon, pull, toml
from tests.support.containerd import REGISTRY
from tests.support.http_client import fetch
from tests.support.processes import ChildProcess, short_directory

HEX = "0" * 64
NS = f"?ns={REGISTRY}"
ENDS_S = 20.0
ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A daemon that holds the image, and its origin."""

    daemon: Daemon
    origin: OriginRegistry


@pytest.fixture(scope="module")
def scene(image: Image) -> Iterator[Scene]:
    origin = OriginRegistry([image])
    with (
        short_directory() as folder,
        in_background(origin),
        Cluster(folder, origin.url, alone=True) as cluster,
    ):
        (daemon,) = cluster.daemons("node")
        pull(image, daemon)
        origin.counters.clear()
        yield Scene(daemon, origin)


@pytest.fixture
def unchanged(scene: Scene) -> Iterator[Scene]:
    """Afterwards the daemon holds what it held, and the origin was not asked."""
    before = scene.daemon.status()
    asked = dict(scene.origin.counters.requests)
    yield scene
    assert scene.daemon.status() == before
    assert dict(scene.origin.counters.requests) == asked


MALFORMED = {
    "digest too short": ("/v2/test/app/blobs/sha256:abc", "DIGEST_INVALID"),
    "digest not hexadecimal": (f"/v2/test/app/blobs/sha256:{'g' * 64}", "DIGEST_INVALID"),
    "digest in upper case": (f"/v2/test/app/blobs/sha256:{'A' * 64}", "DIGEST_INVALID"),
    "digest of an unknown algorithm": (f"/v2/test/app/blobs/md5:{'0' * 32}", "DIGEST_INVALID"),
    "blob without a digest": ("/v2/test/app/blobs/latest", "DIGEST_INVALID"),
    "manifest of an unknown algorithm": (f"/v2/test/app/manifests/sha1:{'0' * 40}", "DIGEST_INVALID"),
    "repository in upper case": ("/v2/Test/app/manifests/v1", "NAME_INVALID"),
    "repository that begins with a dash": ("/v2/-test/app/manifests/v1", "NAME_INVALID"),
    "repository too long": (f"/v2/{'a/' * 130}a/manifests/v1", "NAME_INVALID"),
    "tag with a strange character": ("/v2/test/app/manifests/v1$", "NAME_INVALID"),
    "tag too long": (f"/v2/test/app/manifests/{'v' * 129}", "NAME_INVALID"),
    "path upwards": (f"/v2/../../etc/passwd/blobs/sha256:{HEX}", "NAME_INVALID"),
    "path upwards, hidden": (f"/v2/test/%2e%2e/%2e%2e/blobs/sha256:{HEX}", "NAME_INVALID"),
    "slash, hidden": (f"/v2/test%2fapp/blobs/sha256:{HEX}", "NAME_INVALID"),
    "NUL, hidden": ("/v2/test/app%00/manifests/v1", "NAME_INVALID"),
    "empty components": (f"/v2//test//app/blobs/sha256:{HEX}", "NAME_INVALID"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_a_clear_error(unchanged: Scene, name: str) -> None:
    path, code = MALFORMED[name]
    reply = fetch("GET", unchanged.daemon.url + path + NS)
    assert reply.status == 400
    assert reply.error_code == code
    assert len(reply.json()["errors"][0]["message"]) > 10


@pytest.mark.parametrize(
    "registry", ["127.0.0.1:1", "localhost", "../x", "a b", "169.254.169.254", "[::1]:80"]
)
def test_a_registry_that_nobody_may_reach_is_refused(unchanged: Scene, registry: str) -> None:
    reply = fetch("GET", f"{unchanged.daemon.url}/v2/test/app/manifests/v1?ns={registry.replace(' ', '%20')}")
    assert reply.status in (400, 403, 404)
    assert reply.json()["errors"][0]["message"]


def test_a_range_beyond_the_end_is_416(scene: Scene, image: Image) -> None:
    digest, size = image.layers[0]
    url = f"{scene.daemon.url}/v2/{image.name}/blobs/{digest}{NS}"
    reply = fetch("GET", url, [("Range", f"bytes={size}-")])
    assert reply.status == 416
    assert reply.headers["Content-Range"] == f"bytes */{size}"


def test_a_range_within_the_blob_is_206(scene: Scene, image: Image) -> None:
    digest, size = image.layers[1]
    url = f"{scene.daemon.url}/v2/{image.name}/blobs/{digest}{NS}"
    reply = fetch("GET", url, [("Range", f"bytes={size - 10}-")])
    assert reply.status == 206
    assert reply.headers["Content-Range"] == f"bytes {size - 10}-{size - 1}/{size}"
    content = (image.directory / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert reply.body == content[-10:]


def test_oversized_headers_are_refused(unchanged: Scene, image: Image) -> None:
    url = f"{unchanged.daemon.url}/v2/{image.name}/manifests/{image.tag}{NS}"
    assert fetch("HEAD", url, [("X-Large", "x" * 100_000)]).status in (400, 431)
    assert fetch("GET", f"{unchanged.daemon.url}/v2/{'a' * 100_000}/manifests/v1").status in (400, 414, 431)


@pytest.mark.parametrize(
    "garbage",
    [b"\x00" * 64, b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", b"\x01", b"DMSL\xff\xff\xff\xff" + b"\x00" * 60],
    ids=["zeros", "ones", "http", "too short", "long frame"],
)
def test_a_peer_that_speaks_nonsense_is_let_go(unchanged: Scene, garbage: bytes) -> None:
    host, _, port = unchanged.daemon.peer.rpartition(":")
    with socket.create_connection((host, int(port)), ANSWER_S) as connection:
        with contextlib.suppress(OSError):  # it may hang up before all is said
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(1 << 16):
                pass  # whatever it says, it says little, and hangs up
    assert unchanged.daemon.process.running


def test_after_all_this_the_image_is_still_pulled(scene: Scene, image: Image) -> None:
    assert set(pull(image, scene.daemon)[0].digests) >= {digest for digest, _ in image.blobs}


# --- configurations and folders ---------------------------------------------------------------------------


def refused(folder: Path, module: str, settings: dict[str, object], *flags: str) -> str:
    """What a process says that must not start."""
    config = folder / "config.toml"
    config.write_text(toml(settings))
    argv = [sys.executable, "-m", module, "--config", str(config), *flags]
    process = ChildProcess("refused", argv, folder, env={"PYTHONPATH": str(ROOT)})
    process.start()
    assert process.wait(ENDS_S) not in (0, None)
    said = process.log()
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("module", ["dfdaemon", "scheduler"])
def test_an_unknown_key_is_an_error_that_names_the_nearest(folder: Path, module: str) -> None:
    said = refused(folder, module, {"metrics_liste": "127.0.0.1:0"})
    assert "metrics_liste" in said
    assert "metrics_listen" in said.replace("metrics_liste ", "")


def test_a_value_out_of_range_is_an_error_that_says_what_is_allowed(folder: Path) -> None:
    said = refused(folder, "dfdaemon", {"peer": {"upload_slots": 0}})
    assert "peer.upload_slots" in said
    assert "1 to 64" in said


def test_a_value_of_the_wrong_type_is_an_error(folder: Path) -> None:
    said = refused(folder, "scheduler", {"lease": {"timeout_s": "soon"}})
    assert "lease.timeout_s" in said


def test_a_flag_out_of_range_is_an_error(folder: Path) -> None:
    assert "log_level" in refused(folder, "scheduler", {}, "--log-level", "loud")


def test_a_file_that_is_not_there_is_an_error(folder: Path) -> None:
    said = refused(folder, "dfdaemon", {}, "--config", str(folder / "absent.toml"))
    assert "absent.toml" in said


def test_a_data_folder_of_a_newer_version_is_left_as_it_is(folder: Path) -> None:
    store = folder / "store"
    (store / "blobs/sha256/aa").mkdir(parents=True)
    (store / "format").write_text("999\n")
    (store / "blobs/sha256/aa/precious").write_text("data of the future")
    before = contents(store)
    said = refused(folder, "dfdaemon", own_settings(folder))
    assert "999" in said
    assert "newer" in said
    assert contents(store) == before


def test_a_folder_that_is_not_ours_is_left_as_it_is(folder: Path) -> None:
    store = folder / "store"
    (store / "blobs").mkdir(parents=True)
    (store / "blobs/photo").write_text("somebody's")
    before = contents(store)
    refused(folder, "dfdaemon", own_settings(folder))
    assert contents(store) == before


def contents(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def own_settings(folder: Path) -> dict[str, object]:
    anywhere = {"listen": "127.0.0.1:0"}
    return {
        "control_socket": str(folder / "s"),
        "metrics_listen": "127.0.0.1:0",
        "mirror": anywhere,
        "peer": anywhere,
        "store": {"directory": str(folder / "store")},
    }
