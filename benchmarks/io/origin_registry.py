"""An origin registry for `make demo`, benchmarks and tests: pull only, exact counts, faults to order.

It speaks the OCI distribution protocol (distribution-spec 1.0) as docker-registry 2.8 does, strict Accept
check included. Inside a loop: `async with OriginRegistry([image]) as origin: ... origin.url`. As a process:
`python -m benchmarks.io.origin_registry --layout DIR` prints one line of JSON with its address when it is
ready, and ends on SIGTERM. `GET /_counters` tells what left it; `GET` and `PUT /_faults` show and set its
faults.
"""

import argparse
import asyncio
import contextlib
import email.utils
import hashlib
import hmac
import json
import math
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from benchmarks.io.image import Image, load_image
from benchmarks.io.origin_bodies import Body, BodySender
from benchmarks.io.origin_catalog import Catalog, Content
from benchmarks.io.pacing import Pacer
from benchmarks.origin.access import OPEN, AccessPolicy, Gate, basic_header
from benchmarks.origin.byte_range import ByteRange, RangeNotSatisfiable, requested_range
from benchmarks.origin.counters import Counters
from benchmarks.origin.faults import Disturbance, Fault, FaultKind, Request, Where, strike
from benchmarks.origin.request_limit import RequestLimit

STOP_S = 0.1  # how long a stop waits for answers in progress: a test that stops an origin means it
BACKLOG = 4096  # a herd of clients connects at once
CONGESTION = b"reno"  # needs no privilege, and on loopback costs a quarter of what bbr does

ERROR_CODES = {401: "UNAUTHORIZED", 404: "NOT_FOUND", 416: "RANGE_INVALID", 429: "TOOMANYREQUESTS"}
API_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """How the registry behaves.

    `port`: 0 picks a free one. `bytes_per_s`: the limit of all bodies together. `redirect_host`: blobs are
    redirected there (307) as to a storage of its own, which refuses requests that carry Authorization, as S3
    does; an address such as 127.0.0.2 is listened on too, a name such as localhost must lead to `host`.
    `requests_per_minute`: more are answered 429; 0: no limit.
    """

    host: str = "127.0.0.1"
    port: int = 0
    bytes_per_s: float | None = None
    access: AccessPolicy = OPEN
    redirect_host: str | None = None
    requests_per_minute: int = 0


class OriginRegistry:
    """The registry; `faults`, `counters`, `pacer.bytes_per_s` and `gate.policy` may change while it runs."""

    def __init__(
        self,
        images: Iterable[Image] = (),
        settings: OriginSettings = OriginSettings(),
        *,
        faults: Iterable[Fault] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.catalog = Catalog()
        self.counters = Counters()
        self.faults = list(faults)
        self.pacer = Pacer(settings.bytes_per_s)
        self.port = settings.port
        self._key = secrets.token_bytes(16)
        self.gate = Gate(settings.access, self._key)
        self.limit = RequestLimit(settings.requests_per_minute)
        self._clock = clock
        self._sender = BodySender(self.pacer)
        self._runner: web.AppRunner | None = None
        for image in images:
            self.catalog.add(image)

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.settings.host}:{self.port}"

    @property
    def url(self) -> str:
        """What a hosts.toml calls `server`."""
        return f"http://{self.address}"

    async def start(self) -> None:
        """Listen. After a stop it comes back on the same port."""
        self._runner = web.AppRunner(
            self._app(), access_log=None, shutdown_timeout=STOP_S, handler_cancellation=True
        )
        await self._runner.setup()
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        sock = socket.create_server((self.settings.host, self.port), family=family, backlog=BACKLOG)
        with contextlib.suppress(OSError):  # not built into this kernel: slower on loopback, but right
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
        await web.SockSite(self._runner, sock, backlog=BACKLOG).start()
        self.port = self._runner.addresses[0][1]
        if (self.settings.redirect_host or "localhost") not in ("localhost", self.settings.host):
            await web.TCPSite(
                self._runner, self.settings.redirect_host, self.port, reuse_address=True
            ).start()

    async def stop(self) -> None:
        """Close everything, also answers in progress."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._limited])
        app.on_response_prepare.append(self._count_status)  # before a client can have seen it
        app.add_routes(
            [
                web.get("/v2/", self._ping),
                web.get("/v2/{repository:.+}/manifests/{reference}", self._manifest),
                web.get("/v2/{repository:.+}/blobs/{digest}", self._blob),
                web.get("/_storage/{repository:.+}/{digest}", self._storage),
                web.get("/token", self._token),
                web.post("/token", self._token),
                web.get("/_counters", self._show_counters),
                web.get("/_faults", self._show_faults),
                web.put("/_faults", self._set_faults),
            ]
        )
        return app

    @web.middleware
    async def _limited(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        wait_s = self.limit.wait_s(self._clock()) if request.path.startswith("/v2/") else 0.0
        if wait_s:
            response = _error(429, "too many requests")
            response.headers["Retry-After"] = str(math.ceil(wait_s))
            return response
        return await handler(request)

    async def _count_status(self, request: web.Request, response: web.StreamResponse) -> None:
        if not request.path.startswith(("/_c", "/_f")):
            self.counters.statuses[response.status] += 1

    async def _ping(self, request: web.Request) -> web.StreamResponse:
        self.counters.requests[f"{request.method} ping"] += 1
        early = await self._early(request, None, self._strike(Where.PING, request))
        return early or web.json_response({}, headers=API_VERSION)

    async def _manifest(self, request: web.Request) -> web.StreamResponse:
        name, reference = request.match_info["repository"], request.match_info["reference"]
        by = "digest" if ":" in reference else "tag"
        self.counters.requests[f"{request.method} manifest by {by}"] += 1
        content = self.catalog.repository(name).manifest(reference)
        names = (reference,) if content is None else (reference, content.digest)
        disturbance = self._strike(Where.MANIFEST, request, *names)
        if early := await self._early(request, name, disturbance):
            return early
        if content is None or content.media_type not in _accepted(request):
            return _error(
                404, f"{name} has no manifest {reference} of a type that was asked for", "MANIFEST_UNKNOWN"
            )
        if request.method == "GET":
            self.counters.manifest_gets[content.digest] += 1
        return await self._answer(request, content, disturbance)

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        name, digest = request.match_info["repository"], request.match_info["digest"]
        ranged = " range" if "Range" in request.headers else ""
        self.counters.requests[f"{request.method} blob{ranged}"] += 1
        disturbance = self._strike(Where.BLOB, request, digest)
        if early := await self._early(request, name, disturbance):
            return early
        content = self.catalog.repository(name).blobs.get(digest)
        if content is None:
            return _error(404, f"{name} has no blob {digest}", "BLOB_UNKNOWN")
        if self.settings.redirect_host is not None and request.method == "GET":
            self.counters.requests["redirect"] += 1
            return web.Response(status=307, headers={"Location": self._storage_url(name, digest)})
        return await self._answer(request, content, disturbance)

    async def _storage(self, request: web.Request) -> web.StreamResponse:
        name, digest = request.match_info["repository"], request.match_info["digest"]
        self.counters.requests[f"{request.method} storage"] += 1
        disturbance = self._strike(Where.STORAGE, request, digest)
        if early := await self._planned(disturbance):
            return early
        if "Authorization" in request.headers:
            return _error(
                400, "only one way to authorise is allowed: the signature in the URL", "InvalidArgument"
            )
        if not hmac.compare_digest(request.query.get("signature", ""), self._signature(digest)):
            return _error(403, "the signature does not match", "SignatureDoesNotMatch")
        content = self.catalog.repository(name).blobs[digest]
        return await self._answer(request, content, disturbance)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.counters.requests[f"{request.method} token"] += 1
        if early := await self._planned(self._strike(Where.TOKEN, request)):
            return early
        authorization, scopes = request.headers.get("Authorization"), request.query.getall("scope", [])
        if request.method == "POST":
            form = await request.post()
            scopes = [str(scope) for scope in form.getall("scope", [])]
            authorization = basic_header(str(form.get("username", "")), str(form.get("password", "")))
        words = [word for scope in scopes for word in scope.split()]
        token = self.gate.token(authorization, words, self._clock())
        return _error(401, "no such account") if token is None else web.json_response(token)

    async def _show_counters(self, request: web.Request) -> web.Response:
        return web.json_response(self.counters.as_json())

    async def _show_faults(self, request: web.Request) -> web.Response:
        return web.json_response([fault.as_json() for fault in self.faults])

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults[:] = [Fault.from_json(entry) for entry in await request.json()]
        except (ValueError, TypeError) as error:
            return _error(400, str(error))
        return await self._show_faults(request)

    def _strike(self, where: Where, request: web.Request, *names: str) -> Disturbance:
        redirects = self.settings.redirect_host is not None
        return strike(self.faults, Request(where, request.method, names), redirects=redirects)

    async def _early(
        self, request: web.Request, repository: str | None, disturbance: Disturbance
    ) -> web.Response | None:
        """The answer that a fault or the gate gives before content is looked at."""
        if planned := await self._planned(disturbance):
            return planned
        authorization = request.headers.get("Authorization")
        refusal = self.gate.judge(repository, authorization, f"http://{request.host}/token", self._clock())
        if refusal is None:
            return None
        response = _error(401, "authentication required")
        response.headers["WWW-Authenticate"] = refusal.challenge
        return response

    async def _planned(self, disturbance: Disturbance) -> web.Response | None:
        if slow := disturbance.get(FaultKind.SLOW_HEADERS):
            await asyncio.sleep(slow.seconds)
        fault = disturbance.get(FaultKind.STATUS)
        if fault is None:
            return None
        response = _error(fault.status, "a fault that was ordered")
        if fault.retry_after_s is not None:
            date = email.utils.formatdate(self._clock() + fault.retry_after_s, usegmt=True)
            response.headers["Retry-After"] = date if fault.retry_after_as_date else str(fault.retry_after_s)
        return response

    async def _answer(
        self, request: web.Request, content: Content, disturbance: Disturbance
    ) -> web.StreamResponse:
        asked = None if disturbance.get(FaultKind.IGNORE_RANGE) else request.headers.get("Range")
        try:
            part = requested_range(asked, content.size)
        except RangeNotSatisfiable as error:
            response = _error(416, str(error))
            response.headers["Content-Range"] = f"bytes */{content.size}"
            return response
        headers = _content_headers(content, part)
        status = 206 if part.partial else 200
        if request.method == "HEAD":
            return web.Response(status=status, headers=headers | {"Content-Length": str(part.length)})
        if content.media_type == "application/octet-stream":
            self.counters.blob_gets[content.digest] += 1
        body = Body(content.path, part, self._counting(content))
        return await self._sender.send(
            request, web.StreamResponse(status=status, headers=headers), body, disturbance
        )

    def _counting(self, content: Content) -> Callable[[int], None]:
        def count(sent: int) -> None:
            self.counters.blob_bytes[content.digest] += sent

        return count if content.media_type == "application/octet-stream" else lambda sent: None

    def _storage_url(self, name: str, digest: str) -> str:
        host = f"{self.settings.redirect_host}:{self.port}"
        return f"http://{host}/_storage/{name}/{digest}?signature={self._signature(digest)}"

    def _signature(self, digest: str) -> str:
        return hmac.new(self._key, digest.encode(), hashlib.sha256).hexdigest()


def _content_headers(content: Content, part: ByteRange) -> dict[str, str]:
    headers = API_VERSION | {
        "Content-Type": content.media_type,
        "Docker-Content-Digest": content.digest,
        "ETag": f'"{content.digest}"',
        "Accept-Ranges": "bytes",
    }
    if part.partial:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{content.size}"
    return headers


def _accepted(request: web.Request) -> set[str]:
    """The media types of all Accept headers. `*/*` is none, as in distribution 2.8."""
    listed = ",".join(request.headers.getall("Accept", []))
    return {entry.partition(";")[0].strip() for entry in listed.split(",")}


def _error(status: int, message: str, code: str | None = None) -> web.Response:
    """An error in the form of the distribution spec."""
    entry = {"code": code or ERROR_CODES.get(status, "UNKNOWN"), "message": message}
    return web.json_response({"errors": [entry]}, status=status, headers=API_VERSION)


async def serve(images: Sequence[Image], settings: OriginSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with OriginRegistry(images, settings) as origin:
        print(json.dumps(_announcement(origin, images)), flush=True)
        await stopped.wait()


def _announcement(origin: OriginRegistry, images: Sequence[Image]) -> dict[str, Any]:
    listed = [{"name": image.name, "tag": image.tag, "digest": image.root_digest} for image in images]
    return {"address": origin.address, "url": origin.url, "images": listed}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="origin_registry", description="Serve OCI layouts to pullers.")
    parser.add_argument(
        "--layout", type=Path, action="append", required=True, metavar="DIR", help="may be repeated"
    )
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--bytes-per-s", type=float, metavar="N", help="limit of all connections together")
    parser.add_argument(
        "--redirect-host", metavar="HOST", help="redirect blobs to this host at the same port"
    )
    options = parser.parse_args(arguments)
    host, _, port = options.listen.rpartition(":")
    settings = OriginSettings(
        host=host, port=int(port), bytes_per_s=options.bytes_per_s, redirect_host=options.redirect_host
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve([load_image(layout) for layout in options.layout], settings))


if __name__ == "__main__":
    main()
