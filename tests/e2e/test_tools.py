"""dfget and dfctl against a daemon that runs, and --print-config."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.io.image import Image, blob_path
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode
from tests.support.background import in_background
from tests.support.cluster import ROOT, Cluster, Daemon
from tests.support.containerd import REGISTRY
from tests.support.processes import ProcessFailed, run, short_directory

ENDS_S = 20.0


@pytest.fixture(scope="module")
def pair(image: Image) -> Iterator[list[Daemon]]:
    """Two daemons of a cluster; the first has pulled the image with dfget."""
    origin = OriginRegistry([image])
    with short_directory() as folder, in_background(origin), Cluster(folder, origin.url) as cluster:
        daemons = cluster.daemons("one", "two")
        daemons[0].dfget(name(image))
        yield daemons


def name(image: Image) -> str:
    return f"{REGISTRY}/{image.name}:{image.tag}"


def rows(printed: str, digest: str) -> list[str]:
    """The lines that speak of a blob."""
    return [line for line in printed.splitlines() if digest[:19] in line]


def test_dfget_pulls_an_image_and_says_where_it_came_from(pair: list[Daemon], image: Image) -> None:
    printed = pair[1].dfget(name(image))
    assert re.search(r"blob +bytes +origin +peers +scheduler +disk +seconds", printed)
    for digest, _ in image.layers:
        (row,) = rows(printed, digest)
        assert row.split()[0] == "layer"
        assert pair[1].explain(digest)["peer_bytes"] == {"one": pair[1].explain(digest)["size"]}
    assert "every digest verified" in printed
    again = pair[1].dfget(name(image))
    assert "every digest verified" in again
    assert pair[1].total("disk_bytes", [image.layers[0].digest]) > 0


def test_dfget_writes_a_blob_to_a_file(pair: list[Daemon], image: Image, tmp_path: Path) -> None:
    digest, _ = image.layers[1]
    wanted = tmp_path / "layer"
    pair[0].dfget(f"https://{REGISTRY}/v2/{image.name}/blobs/{digest}", "--output", str(wanted))
    assert wanted.read_bytes() == blob_path(image.directory, digest).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]


def test_dfget_leaves_no_file_of_a_blob_that_does_not_exist(
    pair: list[Daemon], image: Image, tmp_path: Path
) -> None:
    absent = f"https://{REGISTRY}/v2/{image.name}/blobs/sha256:{'0' * 64}"
    with pytest.raises(ProcessFailed, match="404"):
        pair[0].dfget(absent, "--output", str(tmp_path / "layer"))
    assert not (tmp_path / "layer").exists()


@pytest.mark.parametrize(
    "reference", ["Upper/Case", f"{REGISTRY}/a@sha256:1", f"https://{REGISTRY}/etc/passwd"]
)
def test_dfget_refuses_what_is_no_reference(pair: list[Daemon], reference: str) -> None:
    with pytest.raises(ProcessFailed, match=r"ended with 2\n.*malformed"):
        pair[0].dfget(reference)


def test_dfctl_tells_the_status(pair: list[Daemon]) -> None:
    printed = pair[0].dfctl("status")
    assert re.search(r"host +one ", printed)
    assert re.search(r"scheduler +attached", printed)
    assert re.search(r"store +\d+ blobs, 0 partial", printed)
    assert "nothing is being pulled" in printed


def test_dfctl_explains_a_digest(pair: list[Daemon], image: Image) -> None:
    printed = pair[0].dfctl("explain", image.layers[0].digest)
    assert image.layers[0].digest in printed
    assert "complete" in printed
    assert re.search(r"from +origin +\d", printed)


def test_dfctl_explains_an_image(pair: list[Daemon], image: Image) -> None:
    printed = pair[0].dfctl("explain", name(image))
    for digest in (image.root_digest, image.manifest_digest, *(digest for digest, _ in image.blobs)):
        assert digest in printed


def test_dfctl_says_of_an_unknown_digest_what_it_means(pair: list[Daemon]) -> None:
    with pytest.raises(ProcessFailed, match="neither holds"):
        pair[0].dfctl("explain", f"sha256:{'0' * 64}")
    with pytest.raises(ProcessFailed, match=r"ended with 2\n.*malformed digest"):
        pair[0].dfctl("explain", "sha256:1")


@pytest.mark.parametrize("words", [("dfctl", "status"), ("dfget", f"{REGISTRY}/a/b")])
def test_a_socket_where_nobody_listens_is_named(folder: Path, words: tuple[str, str]) -> None:
    tool, word = words
    socket = folder / "nobody"
    with pytest.raises(ProcessFailed, match=f"no daemon answers at {socket}"):
        run([Path(sys.executable).with_name(tool), "--socket", socket, word], ENDS_S, env={"COLUMNS": "200"})


def test_dfget_without_a_login_says_how_to_log_in(folder: Path, image: Image) -> None:
    policy = AccessPolicy(AuthMode.BASIC, {"ann": Account("secret")})
    origin = OriginRegistry([image], OriginSettings(access=policy))
    with in_background(origin), Cluster(folder, origin.url, alone=True) as cluster:
        (daemon,) = cluster.daemons("node")
        with pytest.raises(ProcessFailed, match=r"401.*--password-stdin"):
            daemon.dfget(name(image))


@pytest.mark.parametrize("module", ["dfdaemon", "scheduler"])
def test_the_printed_configuration_is_one_that_gives_itself(folder: Path, module: str) -> None:
    def printed(*words: str | Path) -> str:
        argv = [sys.executable, "-m", module, *words, "--print-config"]
        return run(argv, ENDS_S, env={"PYTHONPATH": str(ROOT)})

    first = printed("--log-level", "debug")
    assert tomllib.loads(first)["log_level"] == "debug"
    config = folder / "printed.toml"
    config.write_text(first)
    assert tomllib.loads(printed("--config", config)) == tomllib.loads(first)
