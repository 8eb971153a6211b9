"""Sending content with the faults that were ordered, counting each byte.

Undisturbed and without a limit bytes go by sendfile, at more than a gigabyte a second; otherwise in paced
steps.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from benchmarks.io.pacing import Pacer
from benchmarks.origin.byte_range import ByteRange
from benchmarks.origin.faults import Disturbance, Fault, FaultKind

SENDFILE_STEP_BYTES = 1 << 20  # costs two loop rounds; at most one step is counted too much
_LINGER_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s: close() sends RST


@dataclass(frozen=True, slots=True)
class Body:
    """The part of a file that an answer shall carry.

    `counted` is told of each step before it goes out, so that nobody holds a byte that is not counted, and of
    what was not sent, as a negative number, if the client went away.
    """

    path: Path
    part: ByteRange
    counted: Callable[[int], None]


class BodySender:
    """Sends bodies of all connections within one rate."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer

    async def send(
        self, request: web.Request, response: web.StreamResponse, body: Body, disturbance: Disturbance
    ) -> web.StreamResponse:
        """Send headers and body; the response has its status and headers except for the length."""
        if disturbance.get(FaultKind.NO_LENGTH):
            response.enable_chunked_encoding()
        else:
            response.content_length = body.part.length
        await response.prepare(request)
        # A client that goes away is no error, and what it got is counted.
        with body.path.open("rb", buffering=0) as file, contextlib.suppress(ConnectionError):
            if self._pacer.bytes_per_s is None and not disturbance.touches_body:
                await _sendfile(request, file, body)
            else:
                await self._send_in_steps(request, response, file, body, disturbance)
        return response

    async def _send_in_steps(
        self,
        request: web.Request,
        response: web.StreamResponse,
        file: BinaryIO,
        body: Body,
        disturbance: Disturbance,
    ) -> None:
        file.seek(body.part.start)
        at, wrong = body.part.start, disturbance.get(FaultKind.WRONG_BYTE)
        for stop, fault in _stops(body.part, disturbance):
            while at < stop:
                chunk = _spoiled(file.read(min(self._pacer.step_bytes, stop - at)), at, wrong)
                await self._pacer.take(len(chunk))
                body.counted(len(chunk))
                await response.write(chunk)
                at += len(chunk)
            if fault is None:
                continue
            if fault.kind is not FaultKind.STALL:
                return _cut(request, reset=fault.kind is FaultKind.CUT_RST)
            await asyncio.sleep(fault.seconds)


def _stops(part: ByteRange, disturbance: Disturbance) -> list[tuple[int, Fault | None]]:
    """Where in the content something happens, in order, and the end."""
    faults = [disturbance.get(kind) for kind in (FaultKind.STALL, FaultKind.CUT_FIN, FaultKind.CUT_RST)]
    stops: list[tuple[int, Fault | None]] = [
        (part.start + fault.at_bytes, fault) for fault in faults if fault and fault.at_bytes < part.length
    ]
    return [*sorted(stops, key=lambda stop: stop[0]), (part.stop, None)]


def _spoiled(chunk: bytes, at: int, wrong: Fault | None) -> bytes:
    if wrong is None or not at <= wrong.at_bytes < at + len(chunk):
        return chunk
    spoiled = bytearray(chunk)
    spoiled[wrong.at_bytes - at] ^= 0xFF
    return bytes(spoiled)


def _cut(request: web.Request, *, reset: bool) -> None:
    transport = request.transport
    if transport is None:
        return
    if not reset:
        transport.close()
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()


async def _sendfile(request: web.Request, file: BinaryIO, body: Body) -> None:
    loop = asyncio.get_running_loop()
    at = body.part.start
    while at < body.part.stop:
        if request.transport is None or request.transport.is_closing():
            return
        count = min(SENDFILE_STEP_BYTES, body.part.stop - at)
        file.seek(at)
        body.counted(count)
        try:
            sent = await loop.sendfile(request.transport, file, at, count)
        except ConnectionError:
            # The loop left the position behind the last byte sent (after a cancel it does not).
            body.counted(file.tell() - at - count)
            raise
        assert sent == count, f"{body.path} is shorter than it was"
        at += count
