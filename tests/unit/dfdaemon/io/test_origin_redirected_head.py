"""What the answer to HEAD proves of a credential where a redirect led to it: a storage, or a proxy's login page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.origin_fetch import fault_of
from swarm.dice import Dice
from swarm.digest import Digest
from swarm.errors import OriginContent, OriginError, OriginStatus
from swarm.messages import OriginFault
from tests.support.fake_origin import Answer, FakeOrigin, fake_origin, says

BODY = b"the content"
DIGEST = Digest.of(BODY)
BLOB = OriginSource("r.test", "team/app", DIGEST, "blob", authorization="Bearer x")
PAGE = ("Content-Type", "text/html; charset=utf-8")
FIRST_BYTE = says(206, BODY[:1], ("Content-Range", f"bytes 0-0/{len(BODY)}"))


@asynccontextmanager
async def client_of(origin: FakeOrigin) -> AsyncIterator[OriginClient]:
    listed = (RegistryConfig(name="r.test", url=origin.url),)
    client = OriginClient(OriginConfig(registries=listed, retries=1), Dice(1))
    try:
        yield client
    finally:
        await client.close()


def signed_for_get(get: Answer, status: int = 403) -> Answer:
    """A storage's address, signed for GET: HEAD is answered with `status`."""

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        answer = (says(status) if request.method == "HEAD" else get)(request)
        assert isinstance(answer, web.StreamResponse)
        return answer

    return answer


async def size_behind(storage_answer: Answer, blob: OriginSource = BLOB) -> tuple[int, list[str]]:
    """Return the size that HEAD finds behind a redirect to another origin, and what was asked there."""
    async with fake_origin(storage_answer) as storage:
        moved = says(307, b"", ("Location", f"{storage.url}/signed"))
        async with fake_origin(moved) as origin, client_of(origin) as client:
            head = await client.head_blob(blob)
            assert not any(seen.all("Authorization") for seen in storage.seen)
            return head.size, [seen.method for seen in storage.seen]


async def test_a_storage_that_answers_head() -> None:
    assert await size_behind(says(200, BODY)) == (len(BODY), ["HEAD"])


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_registry_that_gives_a_blob_and_does_not_answer_head(status: int) -> None:
    """A proxy in front of another registry says 404 of what it has not fetched yet (Harbor)."""
    async with fake_origin(signed_for_get(FIRST_BYTE, status)) as origin, client_of(origin) as client:
        assert (await client.head_blob(BLOB)).size == len(BODY)
        assert [seen.method for seen in origin.seen] == ["HEAD", "GET"]


async def test_a_blob_that_is_not_there_is_not_there() -> None:
    async with fake_origin(says(404)) as origin, client_of(origin) as client:
        with pytest.raises(OriginStatus) as refused:
            await client.head_blob(BLOB)
        assert refused.value.status == 404
        with pytest.raises(OriginStatus):
            await client.head_manifest("r.test", "team/app", "v1", (), None)
        assert [seen.method for seen in origin.seen] == ["HEAD", "GET", "HEAD"]


@pytest.mark.parametrize("status", [400, 403, 405, 501])
async def test_a_storage_that_refuses_head_is_asked_for_the_first_byte(status: int) -> None:
    assert await size_behind(signed_for_get(FIRST_BYTE, status)) == (len(BODY), ["HEAD", "GET"])


@pytest.mark.parametrize(
    ("get", "size"),
    [
        (says(200, BODY), len(BODY)),
        (says(206, BODY[:1], ("Content-Range", "bytes 0-0/*")), -1),
        (says(416, b"", ("Content-Range", "bytes */0")), -1),
    ],
)
async def test_what_storages_answer_to_the_first_byte(get: Answer, size: int) -> None:
    assert await size_behind(signed_for_get(get)) == (size, ["HEAD", "GET"])


@pytest.mark.parametrize(
    "answer",
    [says(200, b"", ("Content-Length", "0")), signed_for_get(says(416, b"", ("Content-Range", "bytes */0")))],
)
async def test_only_what_is_empty_has_no_bytes(answer: Answer) -> None:
    """Some say a length of 0 of everything that they are asked about with HEAD."""
    empty = replace(BLOB, digest=Digest.of(b""))
    for blob, size in (BLOB, -1), (empty, 0):
        assert (await size_behind(answer, blob))[0] == size


async def test_a_page_at_the_registrys_own_address_is_no_yes() -> None:
    async with fake_origin(says(200, b"<p>", PAGE)) as origin, client_of(origin) as client:
        for asked in client.head_blob(BLOB), client.head_manifest("r.test", "team/app", "v1", (), None):
            with pytest.raises(OriginContent, match="a page for people"):
                await asked


@pytest.mark.parametrize(
    "get",
    [
        says(206, BODY[:1]),
        says(206, BODY[:1], ("Content-Range", f"bytes 1-1/{len(BODY)}")),
        says(416, b"", ("Content-Range", f"bytes */{len(BODY)}")),
    ],
)
async def test_another_part_than_asked_for(get: Answer) -> None:
    with pytest.raises(OriginContent):
        await size_behind(signed_for_get(get))


async def test_a_storages_403_is_no_refusal_of_the_credential() -> None:
    """It saw none: the signature ran out, or a clock is wrong. The registry's next redirect may do."""
    with pytest.raises(OriginError) as caught:
        await size_behind(says(403))
    assert fault_of(caught.value) is OriginFault.SERVER_ERROR
    async with fake_origin(says(403)) as storage:
        moved = says(307, b"", ("Location", f"{storage.url}/signed"))
        async with fake_origin(moved) as origin, client_of(origin) as client:
            with pytest.raises(OriginError) as caught:
                async with client.fetch(BLOB, 0, None):
                    pass
    assert fault_of(caught.value) is OriginFault.SERVER_ERROR


async def test_a_registry_that_refuses_head_says_no() -> None:
    async with fake_origin(says(403)) as origin, client_of(origin) as client:
        with pytest.raises(OriginStatus):
            await client.head_blob(BLOB)
        assert len(origin.seen) == 1


@pytest.mark.parametrize("page", [says(200, b"<p>", PAGE), signed_for_get(says(200, b"<p>", PAGE), 405)])
async def test_a_login_page_elsewhere_is_no_yes(page: Answer) -> None:
    with pytest.raises(OriginStatus) as caught:
        await size_behind(page)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "page",
    [
        says(200, b"<p>", PAGE),
        says(200, b"{}"),
        signed_for_get(says(200, b"<p>", PAGE), 405),
        signed_for_get(says(206, b"<", PAGE, ("Content-Range", "bytes 0-0/3"))),
    ],
)
async def test_a_login_page_of_the_registrys_own_origin_is_no_yes(page: Answer) -> None:
    with pytest.raises(OriginStatus) as caught:
        await size_at_the_same_origin(page)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "content", [says(200, BODY, ("Docker-Content-Digest", str(DIGEST))), signed_for_get(FIRST_BYTE)]
)
async def test_a_registry_may_redirect_to_itself(content: Answer) -> None:
    assert await size_at_the_same_origin(content) == len(BODY)


async def test_a_registry_that_redirects_head_alone() -> None:
    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "HEAD" and request.path != "/moved":
            return web.Response(status=302, headers={"Location": "/moved"})
        return web.Response(body=BODY)

    async with fake_origin(answer) as origin, client_of(origin) as client:
        assert (await client.head_blob(BLOB)).size == len(BODY)


async def size_at_the_same_origin(content: Answer) -> int:
    """Return the size that HEAD finds behind a redirect to another path of the registry."""

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        found = (content if request.path == "/moved" else says(302, b"", ("Location", "/moved")))(request)
        assert isinstance(found, web.StreamResponse)
        return found

    async with fake_origin(answer) as origin, client_of(origin) as client:
        return (await client.head_blob(BLOB)).size
