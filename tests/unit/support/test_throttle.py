"""The throttle in front of an origin."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.io.image import Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.background import in_background
from tests.support.http_client import Reply, fetch
from tests.support.processes import ChildProcess
from tests.support.throttle import ThrottleProxy

SIZE = 4_000_000
HEADERS_BYTES_MAX = 2000


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "test/img", "v1", [SIZE])


@pytest.fixture(scope="module")
def origin(image: Image) -> Iterator[OriginRegistry]:
    with in_background(OriginRegistry([image])) as origin:
        yield origin


@pytest.fixture
def proxy(origin: OriginRegistry) -> Iterator[ThrottleProxy]:
    with in_background(ThrottleProxy(("127.0.0.1", origin.port))) as proxy:
        yield proxy


def layer(url: str, image: Image) -> Reply:
    return fetch("GET", f"{url}/v2/test/img/blobs/{image.layers[0].digest}")


def content(image: Image) -> bytes:
    return blob_path(image.directory, image.layers[0].digest).read_bytes()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_bytes_pass_unchanged_and_counted(proxy: ThrottleProxy, image: Image) -> None:
    assert layer(proxy.url, image).body == content(image)
    assert image.layers[0].size < proxy.bytes_down < image.layers[0].size + HEADERS_BYTES_MAX
    assert proxy.bytes_up > 0
    assert proxy.connections == 1


def test_connections_share_the_rate(proxy: ThrottleProxy, image: Image) -> None:
    proxy.pacer.bytes_per_s = 40_000_000
    begin = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        bodies = set(pool.map(lambda _: layer(proxy.url, image).body, range(4)))
    assert bodies == {content(image)}
    assert time.monotonic() - begin >= 4 * SIZE / 40_000_000 - 0.05


@pytest.mark.parametrize(("reset", "ending"), [(False, "cut"), (True, "reset")])
def test_a_cut_ends_what_is_open(proxy: ThrottleProxy, image: Image, reset: bool, ending: str) -> None:
    proxy.pacer.bytes_per_s = SIZE
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(layer, proxy.url, image)
        until(lambda: proxy.bytes_down > SIZE // 10)
        proxy.cut(reset=reset)
        assert reply.result().ending == ending
    proxy.pacer.bytes_per_s = None
    assert layer(proxy.url, image).body == content(image)


def test_a_pause_holds_everything_until_it_ends(proxy: ThrottleProxy, image: Image) -> None:
    proxy.pause()
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(layer, proxy.url, image)
        until(lambda: proxy.bytes_up > 0)
        assert proxy.bytes_down == 0
        proxy.resume()
        assert reply.result().body == content(image)


def test_it_can_refuse(proxy: ThrottleProxy, image: Image) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        layer(proxy.url, image)
    proxy.accept()
    assert layer(proxy.url, image).status == 200


def test_a_target_that_is_down_is_a_reset(image: Image) -> None:
    with in_background(ThrottleProxy(("127.0.0.1", 1))) as proxy, pytest.raises(ConnectionResetError):
        layer(proxy.url, image)


def test_as_a_process_it_tells_its_counts_at_the_end(
    tmp_path: Path, origin: OriginRegistry, image: Image
) -> None:
    argv = [sys.executable, "-m", "tests.support.throttle", "--target", origin.address]
    child = ChildProcess("throttle", argv, tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[3])})
    child.start()
    try:
        child.wait_until(lambda: child.out.read_text().endswith("\n"))
        assert layer(json.loads(child.out.read_text())["url"], image).body == content(image)
        child.signal(signal.SIGTERM)
        assert child.wait(5.0) == 0
    finally:
        child.kill()
    counts = json.loads(child.out.read_text().splitlines()[1])
    assert counts["connections"] == 1
    assert counts["bytes_down"] > image.layers[0].size
