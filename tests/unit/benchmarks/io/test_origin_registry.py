"""What the embedded origin can do that a real registry can't: faults, redirects, exact counts, a limit."""

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from benchmarks.io.image import MEDIA_MANIFEST, Image, blob_path, generate_image
from benchmarks.io.origin_registry import OriginRegistry, OriginSettings
from benchmarks.origin.access import AccessPolicy, Account, AuthMode, basic_header
from benchmarks.origin.faults import Fault, FaultKind, Where
from tests.support.background import in_background
from tests.support.http_client import Reply, fetch
from tests.support.processes import ChildProcess

SIZE = 3_000_000
ACCEPT = ("Accept", MEDIA_MANIFEST)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return generate_image(tmp_path_factory.mktemp("image"), "test/img", "v1", [SIZE])


@pytest.fixture
def origin(image: Image) -> Iterator[OriginRegistry]:
    with in_background(OriginRegistry([image])) as origin:
        yield origin


def content(image: Image) -> bytes:
    return blob_path(image.directory, image.layers[0].digest).read_bytes()


def layer(origin: OriginRegistry, image: Image, *headers: tuple[str, str]) -> Reply:
    return fetch("GET", f"{origin.url}/v2/{image.name}/blobs/{image.layers[0].digest}", headers)


@pytest.mark.parametrize("bytes_per_s", [None, 1e9])
@pytest.mark.parametrize("at", [0, 1, 65_536, SIZE])
def test_a_cut_ends_the_body_with_fin(image: Image, bytes_per_s: float | None, at: int) -> None:
    fault = Fault(FaultKind.CUT_FIN, at_bytes=at)
    with in_background(
        OriginRegistry([image], OriginSettings(bytes_per_s=bytes_per_s), faults=[fault])
    ) as origin:
        reply = layer(origin, image)
        assert (reply.status, reply.ending, reply.body) == (200, "cut", content(image)[:at])
        assert origin.counters.blob_bytes[image.layers[0].digest] == at
        assert layer(origin, image).body == content(image)


def test_a_cut_of_a_part_counts_from_its_start(origin: OriginRegistry, image: Image) -> None:
    origin.faults.append(Fault(FaultKind.CUT_FIN, at_bytes=10))
    reply = layer(origin, image, ("Range", "bytes=1000-1999"))
    assert (reply.status, reply.ending, reply.body) == (206, "cut", content(image)[1000:1010])


def test_a_cut_may_be_a_reset(origin: OriginRegistry, image: Image) -> None:
    origin.faults.append(Fault(FaultKind.CUT_RST, at_bytes=2_000_000))
    reply = layer(origin, image)
    assert reply.ending == "reset"
    assert content(image).startswith(reply.body)


@pytest.mark.parametrize("status", [500, 503])
def test_a_status_can_be_ordered(origin: OriginRegistry, image: Image, status: int) -> None:
    origin.faults.append(Fault(FaultKind.STATUS, status=status, times=2))
    assert [layer(origin, image).status for _ in range(3)] == [status, status, 200]
    assert origin.counters.statuses == {status: 2, 200: 1}


def test_too_many_requests_may_tell_seconds_or_a_date(origin: OriginRegistry, image: Image) -> None:
    seconds = Fault(FaultKind.STATUS, status=429, retry_after_s=7)
    date = Fault(FaultKind.STATUS, status=429, retry_after_s=7, retry_after_as_date=True)
    origin.faults += [seconds, date]
    first, second = layer(origin, image), layer(origin, image)
    assert (first.status, first.error_code, first.headers["Retry-After"]) == (429, "TOOMANYREQUESTS", "7")
    assert parsedate_to_datetime(second.headers["Retry-After"]).timestamp() > time.time()


def test_a_range_may_be_ignored(origin: OriginRegistry, image: Image) -> None:
    origin.faults.append(Fault(FaultKind.IGNORE_RANGE))
    reply = layer(origin, image, ("Range", "bytes=1000-1999"))
    assert (reply.status, reply.body) == (200, content(image))
    assert "Content-Range" not in reply.headers


@pytest.mark.parametrize(("asked", "start"), [("bytes=0-", 0), ("bytes=1500000-", 1_500_000)])
def test_one_byte_may_be_wrong(origin: OriginRegistry, image: Image, asked: str, start: int) -> None:
    origin.faults.append(Fault(FaultKind.WRONG_BYTE, at_bytes=2_000_000))
    reply = layer(origin, image, ("Range", asked))
    pairs = zip(reply.body, content(image)[start:], strict=True)
    assert [start + at for at, (got, right) in enumerate(pairs) if got != right] == [2_000_000]


def test_a_stall_sends_the_rest_later(origin: OriginRegistry, image: Image) -> None:
    fault = Fault(FaultKind.STALL, at_bytes=1000, seconds=0.01)
    origin.faults.append(fault)
    assert layer(origin, image).body == content(image)
    assert fault.hits == 1


def test_a_client_that_leaves_during_a_stall_is_noticed(origin: OriginRegistry, image: Image) -> None:
    origin.faults.append(Fault(FaultKind.STALL, at_bytes=1000, seconds=3600))
    with pytest.raises(TimeoutError):
        fetch("GET", f"{origin.url}/v2/test/img/blobs/{image.layers[0].digest}", timeout_s=0.05)
    assert origin.counters.total_blob_bytes == 1000


@pytest.mark.parametrize("bytes_per_s", [None, 1e9])
def test_a_client_that_leaves_is_no_error(
    image: Image, bytes_per_s: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    with in_background(OriginRegistry([image], OriginSettings(bytes_per_s=bytes_per_s))) as origin:
        for _ in range(10):
            with socket.create_connection((origin.settings.host, origin.port)) as client:
                path = f"/v2/test/img/blobs/{image.layers[0].digest}"
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: origin\r\n\r\n".encode())
                assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert layer(origin, image).body == content(image)
    assert caplog.records == []


def test_headers_may_be_slow(origin: OriginRegistry, image: Image) -> None:
    origin.faults.append(Fault(FaultKind.SLOW_HEADERS, where=Where.MANIFEST, seconds=3600))
    url = f"{origin.url}/v2/test/img/manifests/v1"
    with pytest.raises(TimeoutError):
        fetch("GET", url, timeout_s=0.05)
    assert fetch("GET", url, [ACCEPT]).status == 200


def test_a_body_may_come_without_its_length(origin: OriginRegistry, image: Image) -> None:
    origin.faults.append(Fault(FaultKind.NO_LENGTH))
    reply = layer(origin, image)
    assert "Content-Length" not in reply.headers
    assert (reply.ending, reply.body) == ("complete", content(image))


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost"])
def test_a_redirect_leads_to_a_storage_that_refuses_credentials(image: Image, host: str) -> None:
    with in_background(OriginRegistry([image], OriginSettings(redirect_host=host))) as origin:
        reply = layer(origin, image)
        location = reply.headers["Location"]
        assert reply.status == 307
        assert location.startswith(f"http://{host}:{origin.port}/")
        assert fetch("GET", location, [("Authorization", "Bearer x")]).status == 400
        assert fetch("GET", location[:-4] + "0000").status == 403
        assert origin.counters.total_blob_bytes == 0
        assert fetch("GET", location, [("Range", "bytes=5-9")]).body == content(image)[5:10]
        assert origin.counters.blob_bytes == {image.layers[0].digest: 5}


def test_the_fault_of_a_redirected_blob_strikes_its_storage(image: Image) -> None:
    with in_background(OriginRegistry([image], OriginSettings(redirect_host="localhost"))) as origin:
        origin.faults.append(Fault(FaultKind.CUT_FIN, at_bytes=10))
        reply = layer(origin, image)
        assert reply.status == 307
        assert len(fetch("GET", reply.headers["Location"]).body) == 10


def test_all_connections_share_the_limit(image: Image) -> None:
    with in_background(OriginRegistry([image], OriginSettings(bytes_per_s=30_000_000))) as origin:
        begin = time.monotonic()
        layer(origin, image)
        layer(origin, image)
        assert time.monotonic() - begin >= 2 * SIZE / 30_000_000 - 0.03


def test_a_token_runs_out(image: Image) -> None:
    policy = AccessPolicy(AuthMode.BEARER, {"ann": Account("secret")}, token_ttl_s=60)
    now = 1000.0
    registry = OriginRegistry([image], OriginSettings(access=policy), clock=lambda: now)
    with in_background(registry) as origin:
        url = f"{origin.url}/token?scope=repository:test/img:pull"
        token = fetch("GET", url, [("Authorization", basic_header("ann", "secret"))]).json()["token"]
        assert layer(origin, image, ("Authorization", f"Bearer {token}")).status == 200
        now = 1060.0
        assert layer(origin, image, ("Authorization", f"Bearer {token}")).status == 401


def test_a_token_is_also_given_to_a_form(image: Image) -> None:
    policy = AccessPolicy(AuthMode.BEARER, {"ann": Account("secret")})
    form = "grant_type=password&username=ann&password=secret&scope=repository:test/img:pull"
    with in_background(OriginRegistry([image], OriginSettings(access=policy))) as origin:
        kind = ("Content-Type", "application/x-www-form-urlencoded")
        token = fetch("POST", f"{origin.url}/token", [kind], body=form.encode()).json()["access_token"]
        assert layer(origin, image, ("Authorization", f"Bearer {token}")).status == 200


def test_counters_tell_requests_by_kind(origin: OriginRegistry, image: Image) -> None:
    manifest = f"{origin.url}/v2/test/img/manifests"
    fetch("HEAD", f"{manifest}/v1", [ACCEPT])
    fetch("GET", f"{manifest}/v1", [ACCEPT])
    fetch("GET", f"{manifest}/{image.manifest_digest}", [ACCEPT])
    layer(origin, image, ("Range", "bytes=0-9"))
    counters = fetch("GET", f"{origin.url}/_counters").json()
    assert counters["requests"] == {
        "HEAD manifest by tag": 1,
        "GET manifest by tag": 1,
        "GET manifest by digest": 1,
        "GET blob range": 1,
    }
    assert counters["manifest_gets"] == {image.manifest_digest: 2}
    assert counters["blob_bytes"] == {image.layers[0].digest: 10}
    assert counters["total_blob_bytes"] == 10


def test_a_tag_can_move(origin: OriginRegistry, tmp_path: Path) -> None:
    newer = generate_image(tmp_path, "test/img", "v1", [100], seed=1)
    origin.catalog.add(newer)
    reply = fetch("HEAD", f"{origin.url}/v2/test/img/manifests/v1", [ACCEPT])
    assert reply.headers["Docker-Content-Digest"] == newer.root_digest


async def test_it_comes_back_on_the_same_port(image: Image) -> None:
    origin = OriginRegistry([image])
    await origin.start()
    port = origin.port
    await origin.stop()
    await origin.start()
    assert origin.port == port
    await origin.stop()


def test_as_a_process_it_announces_itself_takes_faults_and_ends_on_sigterm(
    tmp_path: Path, image: Image
) -> None:
    argv = [sys.executable, "-m", "benchmarks.io.origin_registry", "--layout", str(image.directory)]
    root = Path(__file__).parents[4]
    child = ChildProcess("origin", argv, tmp_path, env={"PYTHONPATH": str(root)})
    child.start()
    try:
        child.wait_until(lambda: child.out.read_text().endswith("\n"))
        said = json.loads(child.out.read_text())
        assert said["images"] == [{"name": "test/img", "tag": "v1", "digest": image.root_digest}]
        faults = fetch("PUT", f"{said['url']}/_faults", body=b'[{"kind": "status", "status": 500}]')
        assert faults.json()[0]["times"] == 1
        url = f"{said['url']}/v2/test/img/blobs/{image.layers[0].digest}"
        assert [fetch("GET", url).status for _ in range(2)] == [500, 200]
        assert fetch("GET", f"{said['url']}/_faults").json()[0]["hits"] == 1
        assert fetch("PUT", f"{said['url']}/_faults", body=b'[{"kind": "x"}]').status == 400
        child.signal(signal.SIGTERM)
        assert child.wait(5.0) == 0
    finally:
        child.kill()
