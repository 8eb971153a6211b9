"""Waiting on the event loop for a socket that has something to read."""

import asyncio
import socket


async def readable(sock: socket.socket) -> None:
    """Wait until a socket has bytes, or its end, to read."""
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    loop.add_reader(sock, _set, came)
    try:
        await came
    finally:
        loop.remove_reader(sock)


def _set(came: "asyncio.Future[None]") -> None:
    if not came.done():
        came.set_result(None)
