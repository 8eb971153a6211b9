"""Everything that is not a pull of content by name: streamed to the origin and back, as it is."""

import asyncio
import time
from collections.abc import AsyncIterator

from aiohttp import ClientResponse, web
from multidict import CIMultiDict

from dfdaemon.endpoints import Endpoint
from dfdaemon.hop_headers import end_to_end
from dfdaemon.io.origin_asking import THIS_HOST
from dfdaemon.io.origin_client import OriginClient
from dfdaemon.io.origin_transport import body_chunks
from dfdaemon.mirrored import mirrored, mirrored_links
from dfdaemon.names import Wanted
from dfdaemon.retry_after import retry_after_s
from swarm.errors import DamselflyError, OriginThrottled

OURS = frozenset({"host", "oci-namespace", "expect"})
"""Headers of a request that are meant for the mirror."""
READS = frozenset({"GET", "HEAD"})
HAMMERED = frozenset({408, 429})
"""containerd repeats a pull at once on these, five times; other clients know how to wait."""
BODILESS = frozenset({204, 304})
REWRITTEN = {"location": mirrored, "link": mirrored_links}
"""Headers of an answer that lead clients on."""
CLIENT_TIMEOUT_S = 300.0
"""A client that neither sends nor takes anything for so long is gone."""
ORIGIN_TIMEOUT_S = 300.0
"""A registry may check a whole layer before it answers the end of its upload."""


class Passthrough:
    """Passes requests on, with repeated headers, and without `ns`."""

    def __init__(self, origin: OriginClient) -> None:
        self._origin = origin

    async def answer(self, request: web.BaseRequest, wanted: Wanted) -> web.StreamResponse:
        """Send a request to its registry and its answer to the client; raises OriginError before the headers."""
        endpoint = self._origin.endpoint(wanted.registry)
        headers = CIMultiDict(end_to_end(request.headers.items(), OURS))
        body = _body(request) if request.can_read_body else None
        there = endpoint.repository(wanted.repository) if wanted.repository else ""
        path = f"/v2/{there}" + wanted.path.removeprefix(f"/v2/{wanted.repository}") if there else wanted.path
        async with self._origin.request(
            wanted.registry,
            request.method,
            path,
            headers,
            body,
            ORIGIN_TIMEOUT_S,
            self._lent(request, wanted),
        ) as answer:
            if answer.status in HAMMERED and wanted.kind == "manifest" and request.method in READS:
                wait = retry_after_s(answer.headers.get("Retry-After"), time.time())
                raise OriginThrottled(answer.status, wanted.path.partition("?")[0], wait)
            named = f"/v2/{there}", f"/v2/{wanted.repository}"
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_answer_headers(answer, endpoint, named)
            )
            await response.prepare(request)
            if request.method != "HEAD" and answer.status not in BODILESS:
                await _copy(answer, request, response)
            return response

    def _lent(self, request: web.BaseRequest, wanted: Wanted) -> str:
        """Return the repository that a client without a credential may look at with this host's account, if any."""
        reads = request.method in READS
        authorization = self._origin.credential(wanted.registry, request.headers.get("Authorization"))
        return wanted.repository if reads and authorization == THIS_HOST else ""


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Give the client's body; a client that waits for leave to send it gets it."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        assert isinstance(request.transport, asyncio.WriteTransport), "a server's transport can write"
        if request.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunks = request.content.iter_any()
    while True:
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise ConnectionResetError(f"the client sent nothing for {CLIENT_TIMEOUT_S:g} s") from error
        if chunk is None:
            return
        yield chunk


async def _copy(answer: ClientResponse, request: web.BaseRequest, response: web.StreamResponse) -> None:
    try:
        async for chunk in body_chunks(answer, request.path):
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await response.write(chunk)
    except (DamselflyError, TimeoutError):
        response.force_close()
        if request.transport is not None:
            request.transport.close()


def _answer_headers(answer: ClientResponse, endpoint: Endpoint, named: tuple[str, str]) -> CIMultiDict[str]:
    asked = str(answer.url)
    headers: CIMultiDict[str] = CIMultiDict()
    for key, value in end_to_end(answer.headers.items()):
        rewrite = REWRITTEN.get(key.lower())
        headers.add(key, value if rewrite is None else rewrite(value, asked, endpoint, named))
    headers["OCI-Namespace"] = endpoint.registry
    return headers
