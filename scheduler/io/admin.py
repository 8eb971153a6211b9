"""What an administrator may ask of a scheduler: deny a digest for the whole cluster, allow it again, purge copies.

On loopback everybody on the machine may; with a token whoever shows it. A page in somebody's browser may not: it
cannot send JSON to another site, nor name this machine as its own.
"""

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from scheduler.denials import Denials
from scheduler.events import DigestAllowed, DigestDenied, Event, PurgeWanted
from scheduler.io.loop import MachineFailed, SchedulerLoop
from swarm.addresses import parse_listen
from swarm.digest import Digest
from swarm.errors import BadDigest
from swarm.ids import TaskId
from swarm.repositories import Purge

BODY_BYTES_MAX = 16 * 1024
REASON_CHARS_MAX = 500
NAME_CHARS_MAX = 255
"""As the Attach stream allows."""
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
ASK_LOCALLY = "set admin_token_file, or metrics_listen to a loopback address and ask there"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """A request that cannot be; the text says what is wrong with it."""


class Admin:
    """Answers `/admin/deny`, `/admin/allow`, `/admin/purge` and `/admin/denials` at `listen`."""

    def __init__(self, listen: str, token: bytes, loop: SchedulerLoop, denials: Denials) -> None:
        self._on_loopback = parse_listen(listen, "metrics_listen")[0] in LOCAL_HOSTS
        self._token = token
        self._loop = loop
        self._denials = denials

    def routes(self) -> list[web.RouteDef]:
        """Return the paths, for the server of health and metrics."""
        return [
            web.get("/admin/denials", self._guarded(self._show)),
            web.post("/admin/deny", self._guarded(self._deny)),
            web.post("/admin/allow", self._guarded(self._allow)),
            web.post("/admin/purge", self._guarded(self._purge)),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        """Let only administrators through, and answer what a handler refuses."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if not self._may(request):
                needs = "show the token of admin_token_file" if self._token else ASK_LOCALLY
                return _error(401 if self._token else 403, needs)
            if request.method == "POST" and request.content_type != "application/json":
                return _error(415, "send JSON")
            try:
                return await handler(request)
            except Refused as error:
                return _error(400, str(error))
            except MachineFailed as error:
                return _error(500, f"a fault of the scheduler, see its log: {error}")

        return handle

    def _may(self, request: web.Request) -> bool:
        if self._token:
            scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
            return scheme == "Bearer" and hmac.compare_digest(shown.encode("utf-8", "replace"), self._token)
        named = (
            request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdecimal() else request.host
        )
        return self._on_loopback and named.strip("[]") in LOCAL_HOSTS

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response({"denied": self._denials.denied})

    async def _deny(self, request: web.Request) -> web.Response:
        asked = await _document(request)
        task, reason = _digest(asked), _text(asked, "reason", REASON_CHARS_MAX)
        if task not in self._denials.denied and self._denials.is_full():
            raise Refused("too many digests are denied; allow old ones again")
        return self._done(DigestDenied(task, reason), self._loop.denials.path)

    async def _allow(self, request: web.Request) -> web.Response:
        return self._done(DigestAllowed(_digest(await _document(request))), self._loop.denials.path)

    async def _purge(self, request: web.Request) -> web.Response:
        asked = await _document(request)
        if "digest" in asked:
            return self._done(PurgeWanted(Purge(_digest(asked))), "")
        names = [_text(asked, key, NAME_CHARS_MAX) for key in ("registry", "repository", "tag")]
        if not all(names):
            raise Refused("name a digest, or registry, repository and tag")
        return self._done(PurgeWanted(Purge(TaskId(""), *names)), "")

    def _done(self, event: Event, file: str) -> web.Response:
        """Carry it out; tell how many hosts were told, and what did not work."""
        self._loop.post(event)
        document: dict[str, object] = {"hosts": len(self._loop.streams)}
        if isinstance(event, DigestDenied | DigestAllowed):
            document["kept"] = bool(file) and not self._loop.denials.error
            if self._loop.denials.error:
                document["warning"] = self._loop.denials.error
        return web.json_response(document)


async def _document(request: web.Request) -> dict[str, Any]:
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise Refused(f"a request has at most {BODY_BYTES_MAX} bytes")
    try:
        document = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise Refused("the body is not JSON") from error
    if not isinstance(document, dict):
        raise Refused("the body is not an object")
    return document


def _digest(document: dict[str, Any]) -> TaskId:
    try:
        return Digest.parse(str(document.get("digest"))).task
    except BadDigest as error:
        raise Refused(str(error)) from error


def _text(document: dict[str, Any], key: str, most: int) -> str:
    text = document.get(key, "")
    if not isinstance(text, str) or len(text) > most or not text.isprintable():
        raise Refused(f"{key} is a line of at most {most} characters")
    return text


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
