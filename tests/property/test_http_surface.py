"""Whatever a client sends to the mirror: an answer with a status that says who is to blame, and nothing breaks."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.io.image import generate_image
from dfdaemon.names import resolve
from swarm.errors import ClientError
from tests.support.mirror import REGISTRY
from tests.support.mirror_bench import Bench

FORBIDDEN = {408, 429, 500}
"""containerd repeats the first two at once; the third is a fault of ours."""

pieces = st.sampled_from(
    [
        "v2",
        "team",
        "app",
        "manifests",
        "blobs",
        "uploads",
        "tags",
        "list",
        "v1",
        "..",
        ".",
        "",
        "%2f",
        "%00",
        "%",
        "~",
        "_catalog",
    ]
)
noise = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\r\n"), max_size=12)
digests = st.sampled_from(["sha256:" + "0" * 64, "sha512:" + "1" * 128, "md5:1", "sha256:", "sha256:xyz"])
paths = st.lists(pieces | digests | noise, max_size=7).map(lambda parts: "/" + "/".join(parts))
queries = st.sampled_from(
    ["", f"?ns={REGISTRY}", "?ns=", "?ns=127.0.0.1", "?ns=a/b", "?x&&=&ns", "?ns=a&ns=b", "?%zz"]
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)
headers = st.lists(
    st.tuples(
        st.sampled_from(["Range", "Accept", "Authorization", "OCI-Namespace", "If-Range", "Connection"]),
        values,
    ),
    max_size=4,
)
ranges = st.one_of(
    st.builds("bytes={}-{}".format, st.integers(0, 3000), st.integers(0, 3000)),
    st.builds("bytes={}-".format, st.integers(0, 10**20)),
    st.builds("bytes=-{}".format, st.integers(0, 3000)),
    noise,
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    image = generate_image(tmp_path_factory.mktemp("image"), "team/app", "v1", [1000])
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(image, Path(directory))
        try:
            yield bench
        finally:
            bench.close()


@settings(max_examples=300)
@given(methods, paths, queries, headers)
def test_any_request_gets_a_sensible_answer(
    bench: Bench, method: str, path: str, query: str, headers: list[tuple[str, str]]
) -> None:
    answer = bench.ask(method, path + query, headers)
    assert answer.status not in FORBIDDEN
    assert answer.status < 500, "the origin is well"
    assert answer.whole
    assert not bench.faults


@settings(max_examples=150)
@given(ranges)
def test_any_range_gets_its_bytes_or_the_whole_or_416(bench: Bench, header: str) -> None:
    layer = bench.image.layers[0]
    content = (bench.image.directory / "blobs" / "sha256" / layer.digest[7:]).read_bytes()
    answer = bench.ask("GET", f"/v2/team/app/blobs/{layer.digest}?ns={REGISTRY}", [("Range", header)])
    assert answer.whole
    assert not bench.faults
    if answer.status == 416:
        assert answer.header("Content-Range") == f"bytes */{layer.size}"
        return
    assert answer.status in (200, 206)
    first = 0
    if answer.status == 206:
        first = int((answer.header("Content-Range") or "").removeprefix("bytes ").partition("-")[0])
    assert answer.body == content[first : first + len(answer.body)]
    assert answer.status == 206 or len(answer.body) == layer.size


@given(
    st.text(max_size=60).map("/v2/".__add__) | paths | st.text(max_size=30), st.none() | st.text(max_size=20)
)
def test_names_are_read_or_refused(raw_path: str, namespace: str | None) -> None:
    try:
        wanted = resolve(raw_path, namespace, "docker.io")
    except ClientError:
        return
    path = wanted.path.partition("?")[0]
    assert path.startswith("/")
    assert "//" not in path
    assert not {"..", "."} & set(path.split("/"))
    assert path.isascii()
    assert path.isprintable()
