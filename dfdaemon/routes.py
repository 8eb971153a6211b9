"""Which event, and which word of the scheduler's, means something in which phase of a download, and who takes it.

In other phases it came too late, or too early, and means nothing: that is normal after something was taken back.
"""

from collections.abc import Callable
from typing import Any

from dfdaemon import events
from dfdaemon.download import Download
from dfdaemon.origin_side import OriginSide
from dfdaemon.peer_side import PeerSide
from dfdaemon.phase import SWARMING, Phase
from swarm import messages
from swarm.messages import LeaseFailed, OriginFault
from swarm.roots import Proven

Handler = Callable[[Download, Any, float], None]
ALWAYS = frozenset(Phase) - {Phase.CLOSED}
OPENED = ALWAYS - {Phase.OPENING}


def deliver(download: Download, event: Any, now: float) -> None:
    """Give a download an event of its task."""
    phases, take = ACCEPTED[type(event)]
    if download.phase in phases:
        take(download, event, now)
        download.settle(now)


def tell(download: Download, message: Any, now: float) -> None:
    """Give a download what the scheduler says of its task. A lease that cannot be taken is given back."""
    if download.phase in SWARMING:
        HEARD[type(message)](download, message, now)
        download.settle(now)
    elif isinstance(message, messages.Lease):
        declined = LeaseFailed(message.task, message.epoch, message.start, OriginFault.ABANDONED)
        download.blob.means.session.tell(declined)


def _to_peers(take: Callable[[PeerSide, Any, float], None]) -> Handler:
    return lambda download, event, now: take(download.peers, event, now)


def _to_origin(take: Callable[[OriginSide, Any, float], None]) -> Handler:
    return lambda download, event, now: take(download.origin, event, now)


ACCEPTED: dict[type, tuple[frozenset[Phase], Handler]] = {
    events.BlobWanted: (ALWAYS, Download.wanted),
    events.ReaderOpened: (ALWAYS, Download.reader_opened),
    events.ReaderAdvanced: (
        ALWAYS,
        lambda to, event, now: to.blob.readers.advance(event.reader, event.offset, now),
    ),
    events.ReaderClosed: (ALWAYS, Download.reader_closed),
    events.StoreOpened: (frozenset({Phase.OPENING}), Download.store_opened),
    events.StoreRefused: (frozenset({Phase.OPENING, Phase.RUNNING}), Download.store_refused),
    events.PieceCommitted: (OPENED, Download.piece_committed),
    events.PieceLost: (OPENED, Download.piece_lost),
    events.BlobChecked: (OPENED, Download.blob_checked),
    events.InlineWritten: (OPENED, Download.inline_written),
    events.ParentAvailable: (SWARMING, _to_peers(PeerSide.available)),
    events.ParentHas: (SWARMING, _to_peers(PeerSide.has)),
    events.ParentGone: (SWARMING, _to_peers(PeerSide.gone)),
    events.ParentBusy: (OPENED, _to_peers(PeerSide.busy)),
    events.PieceArrived: (OPENED, _to_peers(PeerSide.arrived)),
    events.PieceFailed: (OPENED, _to_peers(PeerSide.failed)),
    events.OriginAdvanced: (OPENED, _to_origin(OriginSide.advanced)),
    events.OriginPieceArrived: (OPENED, _to_origin(OriginSide.arrived)),
    events.OriginEnded: (OPENED, Download.origin_ended),
}
"""By event: the phases in which it means something, and who takes it."""

HEARD: dict[type, Handler] = {
    messages.TaskInfo: Download.info_said,
    messages.Parents: lambda download, message, now: download.peers.meet(message.parents),
    messages.Lease: Download.lease_granted,
    messages.Imports: _to_peers(PeerSide.to_import),
    messages.LeaseRevoked: lambda download, message, now: download.origin.revoke(message.epoch, now),
    messages.Inline: Download.inline_said,
    messages.NoSource: Download.no_source_said,
    Proven: lambda download, message, now: download.check.told(message),
}
"""By message: who takes it while the download is under way."""
