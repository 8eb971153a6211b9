"""A machine that goes without a word, as when its power fails: the kernel of the other one notices."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from benchmarks.io.namespaces import in_namespace, network
from dfdaemon.events import ChildLost, ParentGone, ParentLost
from dfdaemon.io import peer_stream
from swarm.pieces import PIECE_BYTES_MIN
from tests.support.peers import CHILD, PARENT, Blob, Ends, subscribe, two_ends

pytestmark = pytest.mark.needs("iproute2", root=True)
BLOB = Blob(PIECE_BYTES_MIN)


def between_two_ends(test: Callable[[Ends], Coroutine[Any, Any, None]]) -> None:
    """Run it with a child of a parent, in a network namespace whose loopback may be cut."""

    async def run() -> None:
        async with asyncio.timeout(20), two_ends() as ends:
            await subscribe(ends, BLOB)
            await test(ends)

    with network({"both": 0}, "reno") as places:
        in_namespace(places["both"].namespace, lambda: asyncio.run(run()))


def test_both_sides_notice_that_the_other_machine_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_stream, "PROBE_AFTER_S", 1)

    async def test(ends: Ends) -> None:
        subprocess.run(["ip", "link", "set", "lo", "down"], check=True, timeout=5)
        began = time.monotonic()
        assert (await ends.got.next(ParentLost)).parent == PARENT
        assert await ends.served.next(ChildLost) == ChildLost(CHILD)
        assert time.monotonic() - began > 1  # it was not cut off at once by something else

    between_two_ends(test)


def test_who_is_silent_but_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_stream, "PROBE_AFTER_S", 1)

    async def test(ends: Ends) -> None:
        await asyncio.sleep(3.5)  # longer than it takes to miss one that is gone
        ends.server.send_gone(CHILD, BLOB.task)
        assert await ends.got.next(ParentGone) == ParentGone(PARENT, BLOB.task)
        assert not ends.served.unread

    between_two_ends(test)
