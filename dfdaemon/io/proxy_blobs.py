"""Answers GET and HEAD of a digest: authorised, then from the swarm, whole or one range."""

import asyncio
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

from aiohttp import web

from dfdaemon.descriptors import MANIFEST_BYTES_MAX
from dfdaemon.http_range import ByteRange, Multipart, requested_ranges
from dfdaemon.io.active_blob import DownloadDenied
from dfdaemon.io.authorisation import Authoriser
from dfdaemon.io.blobs import BlobReader, Blobs, Span
from dfdaemon.io.body_sender import CLIENT_TIMEOUT_S, BodySender
from dfdaemon.io.loop_turns import LoopTurns
from dfdaemon.io.mirror_answers import Content
from dfdaemon.io.origin_answers import is_empty
from dfdaemon.io.origin_client import OriginClient, OriginSource
from dfdaemon.io.parts_sender import PartsSender
from dfdaemon.io.piece_file import disk_faults
from dfdaemon.layer_book import LayerBook
from swarm.digest import Digest
from swarm.errors import DamselflyError, OriginContent, OriginTimeout, StoreBroken
from swarm.facts import Note
from swarm.pieces import BLOB_BYTES_MAX

HEADERS_AFTER_S = 15.0
"""containerd gives up on headers after 30 s; until they are out a failure has a status, so they wait a while."""
WHOLE_AFTER_S = 25.0
"""A manifest is answered whole: within those 30 s, or containerd should ask its next host."""


class ProxyBlobs:
    """Serves content by digest."""

    def __init__(
        self,
        origin: OriginClient,
        authoriser: Authoriser,
        blobs: Blobs,
        note: Callable[[Note], None],
        turns: LoopTurns,
    ) -> None:
        self._origin = origin
        self._authoriser = authoriser
        self._blobs = blobs
        self._note = note
        self._turns = turns
        self.layers = LayerBook()

    async def answer(self, request: web.BaseRequest, source: OriginSource) -> web.StreamResponse:
        """Answer a request for a blob; raises what authorise() and the download raise before the headers."""
        content = await self.content(source, anew=request.method == "HEAD")
        if not 0 <= content.size <= BLOB_BYTES_MAX:
            return await self.pass_body(request, source, content)
        if request.method == "HEAD":
            return content.head()
        try:
            return await self.stream(request, source, content)
        except DownloadDenied:  # before the headers: the client can still be told what the origin says
            await self._authoriser.authorise_anew(source)
            return await self.stream(request, source, content)

    async def content(self, source: OriginSource, anew: bool = False) -> Content:
        """Authorise, and find out what the headers need; the size is -1 where nobody says it.

        `anew`: whether it is there the registry says now, whatever is known.
        """
        asked = self._authoriser.authorise_head if anew else self._authoriser.authorise
        allowed = await asked(source)
        content = Content(source.registry, source.digest, allowed.size, allowed.media_type)
        stored = self._blobs.stored(source.task)
        # Of a part, the size is only what a client said.
        if stored is not None and (stored.complete or content.size < 0):
            content = replace(content, size=stored.size, media_type=content.media_type or stored.media_type)
        if content.size < 0:
            content = await self._asked(source, content)
        return content if source.kind == "manifest" else replace(content, media_type="")

    async def _asked(self, source: OriginSource, content: Content) -> Content:
        """Ask the origin for a body only to see its headers: some give no length to HEAD."""
        async with self._origin.fetch(source, 0, None if source.kind == "manifest" else 1) as body:
            if body.total == 0 and not is_empty(source.digest):
                raise OriginContent(f"the origin says that {source.digest} is empty, and it is not")
            return replace(content, size=body.total, media_type=content.media_type or body.media_type)

    async def read(self, source: OriginSource, content: Content) -> bytes:
        """Return a small blob whole, its digest checked."""
        assert content.size <= MANIFEST_BYTES_MAX, "only small blobs are read into memory"
        reader = await self._open(source, content, ByteRange(0, content.size, False))
        try:
            async with asyncio.timeout(WHOLE_AFTER_S):
                body = await _gather(reader, content.size)
        except TimeoutError as error:
            raise OriginTimeout(f"{source.digest} did not arrive within {WHOLE_AFTER_S:g} s") from error
        except StoreBroken as error:
            self._blobs.broken(source.task, str(error))
            raise
        finally:
            reader.close()
        try:
            return _checked(body, source.digest)
        except OriginContent as error:
            stored = self._blobs.stored(source.task)
            if stored is not None and stored.complete:  # it was right once: the disk changed it
                self._blobs.broken(source.task, str(error))
            raise

    async def read_unsized(self, source: OriginSource) -> bytes:
        """Return a manifest whose size nobody says before it is there, as a compressed one's; its digest checked."""
        body = bytearray()
        try:
            async with asyncio.timeout(WHOLE_AFTER_S), self._origin.fetch(source, 0, None) as answer:
                async for chunk in answer.chunks():
                    body += chunk
                    if len(body) > MANIFEST_BYTES_MAX:
                        raise OriginContent(f"{source.digest} is larger than a manifest may be")
        except TimeoutError as error:
            raise OriginTimeout(f"{source.digest} did not arrive within {WHOLE_AFTER_S:g} s") from error
        return _checked(bytes(body), source.digest)

    async def stream(
        self, request: web.BaseRequest, source: OriginSource, content: Content
    ) -> web.StreamResponse:
        """Send a blob, or the range of it that was asked for, while it arrives."""
        parts = _parts(request, content)
        if len(parts) > 1:
            return await self._stream_parts(request, source, content, parts)
        part = parts[0]
        response = web.StreamResponse(status=206 if part.partial else 200, headers=content.headers())
        response.content_length = part.end - part.start
        if part.partial:
            response.headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{content.size}"
        if part.start == part.end:
            return response
        reader = await self._open(source, content, part)
        began, sender = monotonic(), BodySender(request, reader, part.start, part.end)
        failure: DamselflyError | None = None
        try:
            first = await _first(reader, part.start)
            await self._turns.next()
            failure = await sender.send(response, first)
        except (ConnectionError, asyncio.CancelledError):
            self._tell("client_left", source, sender.at - part.start, began)
            raise
        finally:
            reader.close()
        self._ended(response, source, sender.at - part.start, began, failure)
        return response

    async def _stream_parts(
        self, request: web.BaseRequest, source: OriginSource, content: Content, parts: tuple[ByteRange, ...]
    ) -> web.StreamResponse:
        """Send several ranges in one answer."""
        headers = content.headers()
        body = Multipart(parts, content.size, headers["Content-Type"], secrets.token_hex(16))
        response = web.StreamResponse(status=206, headers=headers)
        response.headers["Content-Type"] = body.content_type
        response.content_length = body.length
        sender = PartsSender(request, parts, body, lambda part: self._open(source, content, part))
        began = monotonic()
        try:
            first = await _first(await sender.first(), parts[0].start)
            await self._turns.next()
            failure = await sender.send(response, first)
        except (ConnectionError, asyncio.CancelledError):
            self._tell("client_left", source, sender.sent, began)
            raise
        finally:
            sender.close()
        self._ended(response, source, sender.sent, began, failure)
        return response

    def _ended(
        self,
        response: web.StreamResponse,
        source: OriginSource,
        sent: int,
        began: float,
        failure: DamselflyError | None,
    ) -> None:
        """Tell how a body ended; one that ended early must not be followed by another answer."""
        if failure is None:
            self._tell("blob_served", source, sent, began)
            return
        response.force_close()
        self._tell("body_ended_early", source, sent, began, str(failure))
        if isinstance(failure, StoreBroken):
            self._blobs.broken(source.task, str(failure))

    async def pass_body(
        self, request: web.BaseRequest, source: OriginSource, content: Content
    ) -> web.StreamResponse:
        """Send the origin's own body: its size is unknown, so the swarm cannot cut it into pieces."""
        response = web.StreamResponse(headers=content.headers())
        response.headers["Accept-Ranges"] = "none"
        if request.method == "HEAD":
            return response
        self._note(Note("blob_passed_through", source.digest.task, fields=_where(source)))
        async with self._origin.fetch(source, 0, None) as body:
            if body.total >= 0:
                response.content_length = body.total
            await response.prepare(request)
            began, sent = monotonic(), 0
            try:
                async for chunk in body.chunks():
                    async with asyncio.timeout(CLIENT_TIMEOUT_S):
                        await response.write(chunk)
                    sent += len(chunk)
            except DamselflyError as error:
                self._tell("body_ended_early", source, sent, began, str(error))
                response.force_close()
                if request.transport is not None:
                    request.transport.close()
            except TimeoutError as error:
                self._tell("client_left", source, sent, began)
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError(f"the client took nothing for {CLIENT_TIMEOUT_S:g} s") from error
        return response

    async def _open(self, source: OriginSource, content: Content, part: ByteRange) -> BlobReader:
        layer = self.layers.find(source.task)
        return await self._blobs.open(source, content.size, content.media_type, part.start, part.end, layer)

    def _tell(
        self, name: str, source: OriginSource, sent: int, began: float, reason: str | None = None
    ) -> None:
        seconds = round(monotonic() - began, 3)
        why = () if reason is None else (("reason", reason),)
        fields = (*_where(source), ("bytes", sent), ("seconds", seconds), *why)
        self._note(Note(name, source.digest.task, fields=fields))


async def _gather(reader: BlobReader, size: int) -> bytes:
    gathered = bytearray()
    while len(gathered) < size:
        span = await reader.span(len(gathered))
        with disk_faults():
            data = os.pread(span.file.fd, min(span.length, size - len(gathered)), span.place)
        if not data:
            raise StoreBroken(
                f"a file of the store ends before byte {span.place + span.length}; check the disk"
            )
        gathered += data
        reader.advance(len(gathered))
    return bytes(gathered)


def _checked(body: bytes, digest: Digest) -> bytes:
    if Digest.of(body, digest.algorithm) != digest:
        raise OriginContent(f"what arrived as {digest} has another digest; nothing of it was served")
    return body


def _parts(request: web.BaseRequest, content: Content) -> tuple[ByteRange, ...]:
    """Return the ranges to send; If-Range with another content's tag makes it whole (RFC 9110, section 13.1.5)."""
    header = request.headers.get("Range")
    if request.headers.get("If-Range", f'"{content.digest}"') != f'"{content.digest}"':
        header = None
    return requested_ranges(header, content.size)


async def _first(reader: BlobReader, start: int) -> Span | None:
    """Wait for the first bytes, but not longer than the client waits for headers."""
    try:
        async with asyncio.timeout(HEADERS_AFTER_S):
            return await reader.span(start)
    except TimeoutError:
        return None


def _where(source: OriginSource) -> tuple[tuple[str, str], ...]:
    return (("registry", source.registry), ("repository", source.repository))
