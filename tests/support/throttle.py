"""A TCP proxy that makes a real registry slow, counts what it gave, and can cut, pause and refuse.

In an asyncio test `async with ThrottleProxy(...)`, in a blocking one `with
in_background(ThrottleProxy(...))`, or as a process: `python -m tests.support.throttle --target HOST:PORT
--bytes-per-s N` prints one line of JSON when ready, and another with its counts when it ends on SIGTERM.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from benchmarks.io.pacing import STEP_BYTES_MAX, Pacer

# Little may lie between the registry and its client, or the registry logs bytes that never arrive.
UPSTREAM_BUFFER_BYTES = 256 << 10
BACKLOG = 1024
_LINGER_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s: close() sends RST


class ThrottleProxy:
    """Forwards connections to `target`; bytes from the target to clients share the rate of `pacer`.

    `bytes_down`, `bytes_up` and `connections` count since the start. `cut`, `pause`, `resume`, `refuse` and
    `accept` may be called from any thread.
    """

    def __init__(
        self,
        target: tuple[str, int],
        bytes_per_s: float | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.host, self.port = host, port
        self.pacer = Pacer(bytes_per_s)
        self.bytes_down = 0
        self.bytes_up = 0
        self.connections = 0
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """For an HTTP target."""
        return f"http://{self.address}"

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._relay, self.host, self.port, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._cut(reset=False)
        self._flowing.set()
        await self._server.wait_closed()

    def cut(self, *, reset: bool = False) -> None:
        """Close all connections, with FIN or with RST; new ones are welcome."""
        self._call(self._cut, reset)

    def pause(self) -> None:
        """Let nothing through towards clients; connections stay open."""
        self._call(self._flowing.clear)

    def resume(self) -> None:
        """Go on after a pause."""
        self._call(self._flowing.set)

    def refuse(self) -> None:
        """Reset every new connection, as if the registry were down; open ones go on."""
        self._refusing = True

    def accept(self) -> None:
        """The inverse of `refuse`."""
        self._refusing = False

    def _call(self, function: Callable[..., None], *arguments: bool) -> None:
        assert self._loop is not None, "the proxy was not started"
        self._loop.call_soon_threadsafe(function, *arguments)

    def _cut(self, reset: bool) -> None:
        for writer in self._open:
            _close(writer, reset)

    async def _relay(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refusing:
            return _close(client, reset=True)
        try:
            target_reader, target = await self._connect()
        except OSError:
            return _close(client, reset=True)
        self._open |= {client, target}
        try:
            upward = asyncio.create_task(self._pump_up(client_reader, target))
            await self._pump_down(target_reader, client)
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)
        finally:
            self._open -= {client, target}
            target.close()
            client.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UPSTREAM_BUFFER_BYTES)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, self._target)
        except OSError:
            connection.close()
            raise
        return await asyncio.open_connection(sock=connection, limit=UPSTREAM_BUFFER_BYTES)

    async def _pump_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(STEP_BYTES_MAX):
                self.bytes_up += len(data)
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def _pump_down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(self.pacer.step_bytes):
                await self.pacer.take(len(data))
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
                self.bytes_down += len(data)


def _close(writer: asyncio.StreamWriter, reset: bool) -> None:
    if reset:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        writer.transport.abort()
    else:
        writer.close()


async def serve(proxy: ThrottleProxy) -> None:
    """Run until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with proxy:
        print(json.dumps({"address": proxy.address, "url": proxy.url}), flush=True)
        await stopped.wait()
    counts = {"bytes_down": proxy.bytes_down, "bytes_up": proxy.bytes_up, "connections": proxy.connections}
    print(json.dumps(counts), flush=True)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="throttle", description="Slow a TCP server down.")
    parser.add_argument("--target", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument("--bytes-per-s", type=float, metavar="N")
    options = parser.parse_args(arguments)
    host, port = options.listen
    asyncio.run(serve(ThrottleProxy(options.target, options.bytes_per_s, host=host, port=port)))


if __name__ == "__main__":
    main()
