"""A machine that goes without a word, as when its power fails: the kernel of the other one notices."""

import asyncio
import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dfdaemon.events import ChildLost, ChildSubscribed, ParentAvailable, ParentGone, ParentLost
from dfdaemon.io import peer_stream
from swarm.availability import full
from swarm.pieces import PIECE_BYTES_MIN
from tests.support.peers import CHILD, PARENT, Blob, two_ends

pytestmark = pytest.mark.needs("iproute2", root=True)
CLONE_NEWNET = 0x40000000
BLOB = Blob(PIECE_BYTES_MIN)


def set_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True, timeout=5)


def in_own_network(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in a thread in a network namespace of its own, whose loopback may be cut."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            set_loopback("up")
            asyncio.run(test())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_both_sides_notice_that_the_other_machine_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_stream, "PROBE_AFTER_S", 1)

    async def test() -> None:
        async with asyncio.timeout(20), two_ends() as ends:
            ends.client.subscribe(ends.parent, BLOB.task, BLOB.pieces.size)
            await ends.served.next(ChildSubscribed)
            bits = full(BLOB.pieces.count)
            ends.server.send_availability(CHILD, BLOB.task, BLOB.pieces.size, bits)
            await ends.got.next(ParentAvailable)
            set_loopback("down")
            began = time.monotonic()
            assert (await ends.got.next(ParentLost)).parent == PARENT
            assert await ends.served.next(ChildLost) == ChildLost(CHILD)
            assert time.monotonic() - began > 1  # it was not cut off at once by something else

    in_own_network(test)


def test_who_is_silent_but_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_stream, "PROBE_AFTER_S", 1)

    async def test() -> None:
        async with asyncio.timeout(20), two_ends() as ends:
            ends.client.subscribe(ends.parent, BLOB.task, BLOB.pieces.size)
            await ends.served.next(ChildSubscribed)
            ends.server.send_availability(CHILD, BLOB.task, BLOB.pieces.size, full(BLOB.pieces.count))
            await ends.got.next(ParentAvailable)
            await asyncio.sleep(3.5)  # longer than it takes to miss one that is gone
            ends.server.send_gone(CHILD, BLOB.task)
            assert await ends.got.next(ParentGone) == ParentGone(PARENT, BLOB.task)
            assert not ends.served.unread

    in_own_network(test)
