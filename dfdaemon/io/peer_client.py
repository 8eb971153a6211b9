"""Takes pieces from parents: carries out the machine's Subscribe, RequestPiece and CancelRequest.

Every request is answered by exactly one of PieceArrived, ParentBusy and PieceFailed, and all those of a
parent come before its ParentLost. What was asked for early may arrive before ParentAvailable. Events are
emitted from the loop, never from inside a call.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from dfdaemon.config import PeerConfig
from dfdaemon.events import Event, ParentLost, PeerFault, PieceFailed
from dfdaemon.io.parent_link import ParentLink
from dfdaemon.io.peer_handshake import Identity
from dfdaemon.io.peer_tls import PeerTls
from dfdaemon.io.piece_file import PieceFile
from dfdaemon.io.receiver import ReceiverPool
from dfdaemon.io.token_bucket import TokenBucket
from dfdaemon.patience import Patience
from swarm.facts import Note
from swarm.ids import HostId, TaskId
from swarm.messages import HostInfo, Parent

CLOSE_S_MAX = 5.0
"""How long close() waits for transfers whose threads may be inside a write to a slow disk."""


def _unheard(note: Note) -> None:
    """Where notes go that nobody listens to."""


class PeerClient:
    """The connections to all parents. All methods are called on the event loop's thread."""

    def __init__(
        self,
        identity: HostInfo,
        token: bytes,
        config: PeerConfig,
        receivers: ReceiverPool,
        patience: Patience,
        emit: Callable[[Event], None],
        on_note: Callable[[Note], None] = _unheard,
        tls: PeerTls | None = None,
    ) -> None:
        """Connect to nobody yet. `token` is the cluster's (empty: none); `receivers` stays the caller's."""
        self._identity = Identity(identity.host, token, identity.zone)
        self._tls = tls or PeerTls(config, on_note)
        self._receivers = receivers
        self._patience = patience
        self._limit = TokenBucket.of(config.download_bytes_per_s_max)
        self._emit = emit
        self._on_note = on_note
        self._loop = asyncio.get_running_loop()
        self._links: dict[HostId, ParentLink] = {}
        self._all_ended = asyncio.Event()
        self._closing = False

    def subscribe(self, parent: Parent, task: TaskId, size: int) -> None:
        """Ask a parent what it holds of a blob of `size` bytes; if it says another size, it is gone."""
        host = parent.host
        if host not in self._links and not self._closing:
            self._links[host] = ParentLink(
                parent,
                self._identity,
                self._tls,
                self._receivers,
                self._patience,
                self._limit,
                self._post,
                self._on_note,
                lambda: self._soon_ended(host),
            )
        if host in self._links:
            self._links[host].subscribe(task, size)

    def unsubscribe(self, host: HostId, task: TaskId) -> None:
        """Hear nothing more from a parent of a task."""
        if host in self._links:
            self._links[host].unsubscribe(task)

    def request(self, host: HostId, task: TaskId, index: int, file: PieceFile, scratch: bool) -> None:
        """Ask a parent for a piece; its bytes go to its place in `file`, retained until the answer."""
        if host in self._links:
            self._links[host].request(task, index, file, scratch)
        else:
            self._post(PieceFailed(host, task, index, PeerFault.CLOSED, scratch))

    def cancel(self, host: HostId, task: TaskId, index: int, scratch: bool) -> None:
        """Take a request back: PieceFailed(CANCELLED) follows, unless another answer is on its way."""
        if host in self._links:
            self._links[host].cancel((task, index, scratch))

    def disconnect(self, host: HostId) -> None:
        """Leave a parent at once: its requests end with PieceFailed, then ParentLost comes (CANCELLED)."""
        if host in self._links:
            self._links[host].end(PeerFault.CANCELLED)

    async def close(self) -> None:
        """Leave all parents; returns when nothing writes any more, or after CLOSE_S_MAX."""
        self._closing = True
        for link in self._links.values():
            link.end(PeerFault.CANCELLED)
        if not self._links:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._all_ended.wait()

    def _post(self, event: Event) -> None:
        self._loop.call_soon(self._emit, event)

    def _soon_ended(self, host: HostId) -> None:
        """Forget a link in turn with its events: until the machine hears ParentLost, there is no new link."""
        self._loop.call_soon(self._ended, host)

    def _ended(self, host: HostId) -> None:
        fault = self._links.pop(host).fault
        if self._closing and not self._links:
            self._all_ended.set()
        if fault is not None:
            self._emit(ParentLost(host, fault))
