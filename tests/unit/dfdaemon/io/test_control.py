"""The control socket of a running daemon, and the two tools that speak to it."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.io.image import Image, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode
from dfdaemon.io import dfctl, dfget
from dfdaemon.io.local_client import LocalDaemon, LocalError
from dfdaemon.reference import parse_reference
from swarm.errors import ConfigError
from tests.support.daemon import REGISTRY, RunningDaemon, daemon_config, running_daemon
from tests.support.processes import short_directory

MIB = 1 << 20
IMAGE = f"{REGISTRY}/demo/app:v1"
Main = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    return generate_image(folder, "demo/app", "v1", [2 * MIB, MIB], with_index=True)


@pytest.fixture
async def running(image: Image) -> AsyncIterator[RunningDaemon]:
    async with OriginRegistry([image]) as origin:
        with short_directory() as folder:
            async with running_daemon(daemon_config(folder, origin.url)) as daemon:
                yield daemon


async def command(main: Main, *words: str) -> int:
    """Run a tool as a user would, beside the daemon's loop; return its exit code."""

    def run() -> int:
        try:
            main(list(words))
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return await asyncio.to_thread(run)


async def test_dfget_pulls_an_image_and_says_where_it_came_from(
    running: RunningDaemon, capsys: pytest.CaptureFixture[str], image: Image
) -> None:
    assert await command(dfget.main, "--socket", running.control, IMAGE) == 0
    printed = capsys.readouterr().out
    assert f"{len(image.blobs)} blobs" in printed
    assert "every digest verified" in printed
    row = next(line for line in printed.splitlines() if image.layers[0].digest[:19] in line)
    assert row.count("2.0 MiB") == 2, "its size, and all of it from the origin"


async def test_dfget_writes_a_blob_to_a_file(
    running: RunningDaemon, image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = image.layers[0]
    url = f"https://{REGISTRY}/v2/demo/app/blobs/{layer.digest}"
    target = tmp_path / "layer"
    assert await command(dfget.main, "--socket", running.control, url, "--output", str(target)) == 0
    assert target.stat().st_size == layer.size
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([f"{REGISTRY}/demo/none:v1"], 1, "404"),
        ([f"{REGISTRY}/UPPER"], 2, "malformed name"),
        ([f"{REGISTRY}/a@sha256:12"], 2, "malformed digest"),
        ([IMAGE, "--platform", "plan9/mips"], 1, "it offers linux/amd64"),
        ([IMAGE, "--output", "/tmp/x"], 1, "--output writes a single blob"),
        ([IMAGE, "--user", "me"], 2, "--password-stdin"),
    ],
)
async def test_dfget_says_what_is_wrong(
    running: RunningDaemon, capsys: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    assert await command(dfget.main, "--socket", running.control, *words) == code
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("main", [dfget.main, dfctl.main])
async def test_without_a_daemon_the_tools_say_what_to_do(
    main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [IMAGE] if main is dfget.main else ["status"]
    assert await command(main, "--socket", "/nowhere/s", *words) == 1
    printed = capsys.readouterr().err
    assert "is dfdaemon running?" in printed
    assert "/nowhere/s" in printed


async def test_dfctl_tells_what_the_daemon_holds(
    running: RunningDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    await command(dfget.main, "--socket", running.control, IMAGE)
    capsys.readouterr()
    assert await command(dfctl.main, "--socket", running.control, "--json", "status") == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["host"], status["scheduler"]) == ("host-1", False)
    assert status["store"]["blobs"] == 5  # two layers, config, manifest, index
    assert await command(dfctl.main, "--socket", running.control, "status") == 0
    assert "5 blobs" in capsys.readouterr().out


async def test_dfctl_explains_every_blob_of_an_image(
    running: RunningDaemon, capsys: pytest.CaptureFixture[str], image: Image
) -> None:
    await command(dfget.main, "--socket", running.control, IMAGE)
    capsys.readouterr()
    assert await command(dfctl.main, "--socket", running.control, "explain", IMAGE) == 0
    printed = capsys.readouterr().out
    assert all(blob.digest in printed for blob in image.blobs)
    assert printed.count("from       origin") == 5


async def test_dfctl_names_the_blobs_of_an_image_that_were_not_asked_for(
    running: RunningDaemon, capsys: pytest.CaptureFixture[str], image: Image
) -> None:
    async with LocalDaemon(running.control) as daemon:
        for digest in (image.root_digest, image.manifest_digest):
            await daemon.manifest(parse_reference(f"{REGISTRY}/demo/app@{digest}"))
    assert await command(dfctl.main, "--socket", running.control, "explain", IMAGE) == 0
    printed = capsys.readouterr().out
    assert all(f"{layer.digest}  not asked for here" in printed for layer in image.layers)


async def test_dfctl_takes_its_options_after_the_verb_too(
    running: RunningDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command(dfctl.main, "status", "--socket", running.control, "--json") == 0
    assert json.loads(capsys.readouterr().out)["scheduler_reason"] == "no scheduler configured"
    assert await command(dfctl.main, "status", "--socket", running.control) == 0
    assert "not attached (no scheduler configured)" in capsys.readouterr().out


async def test_dfctl_knows_nothing_of_a_foreign_digest(
    running: RunningDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command(dfctl.main, "--socket", running.control, "explain", f"sha256:{'0' * 64}") == 1
    assert "neither holds" in capsys.readouterr().err


async def test_only_its_owner_may_open_the_socket(running: RunningDaemon) -> None:
    assert stat.S_IMODE(Path(running.control).stat().st_mode) == 0o600


async def test_the_socket_of_a_daemon_that_is_gone_is_replaced(image: Image) -> None:
    with short_directory() as folder:
        config = daemon_config(folder, "http://127.0.0.1:1")
        async with running_daemon(config) as first:
            status = Path(first.control)
            assert status.is_socket()
        async with running_daemon(config) as second, LocalDaemon(second.control) as client:
            assert (await client.control("status"))["host"] == "host-1"


async def test_a_path_too_long_for_a_socket_is_an_error_of_the_configuration() -> None:
    with short_directory() as folder:
        config = replace(daemon_config(folder, "http://127.0.0.1:1"), control_socket=f"{folder}/{'x' * 120}")
        with pytest.raises(ConfigError, match="too long"):
            async with running_daemon(config):
                pass


async def test_the_control_socket_authorises_like_the_mirror(image: Image) -> None:
    policy = AccessPolicy(AuthMode.BASIC, accounts={"me": Account("secret-word")})
    async with OriginRegistry([image], OriginSettings(access=policy)) as origin:
        with short_directory() as folder:
            async with running_daemon(daemon_config(folder, origin.url)) as running:
                async with LocalDaemon(running.control, "Basic bWU6c2VjcmV0LXdvcmQ=") as friend:
                    digest, _ = await friend.manifest(parse_reference(IMAGE))
                async with LocalDaemon(running.control) as stranger:
                    with pytest.raises(LocalError, match="401"):
                        await stranger.manifest(parse_reference(f"{REGISTRY}/demo/app@{digest}"))
                assert "secret-word" not in running.log.getvalue()
                assert "bWU6c2VjcmV0LXdvcmQ" not in running.log.getvalue()


async def test_dfctl_purges_a_blob_and_a_tag(
    running: RunningDaemon, capsys: pytest.CaptureFixture[str], image: Image
) -> None:
    await command(dfget.main, "--socket", running.control, IMAGE)
    layer = image.layers[0]
    capsys.readouterr()
    assert await command(dfctl.main, "--socket", running.control, "purge", layer.digest) == 0
    assert "2.0 MiB freed" in capsys.readouterr().out
    assert (
        await command(dfctl.main, "--socket", running.control, "purge", f"{REGISTRY}/a@{layer.digest}") == 0
    )
    assert "freed" not in capsys.readouterr().out
    known = running.daemon.proxy.tags._knowledge.tables._tags
    assert len(list(known)) == 1
    assert await command(dfctl.main, "--socket", running.control, "purge", IMAGE) == 0
    assert not list(known)


@pytest.mark.parametrize("order", [{}, {"registry": "r", "tag": "v1"}, {"digest": "sha256:0"}])
async def test_an_order_that_makes_no_sense_is_refused(running: RunningDaemon, order: dict[str, str]) -> None:
    async with LocalDaemon(running.control) as daemon:
        with pytest.raises(LocalError, match=r"name a digest|malformed digest"):
            await daemon.control("purge", order)
