"""The simulated origin registry: connections that send pieces in order and share its rate."""

from typing import TYPE_CHECKING

from benchmarks.simulator.network import Flow
from dfdaemon import commands, events
from swarm.ids import TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PieceMap

if TYPE_CHECKING:
    from benchmarks.simulator.host import SimulatedHost


def true_digest(task: TaskId, index: int) -> bytes:
    """Return the digest of a piece's true bytes: any function of task and piece will do."""
    return (hash_text(task) * 1_000_003 + index + 1).to_bytes(32, "little")[:16]


def hash_text(text: str) -> int:
    """Return a number for a text, the same in every process (FNV-1a, 64 bits)."""
    number = 0xCBF29CE484222325
    for byte in text.encode():
        number = ((number ^ byte) * 0x100000001B3) & ((1 << 64) - 1)
    return number


class OriginConnection:
    """One fetch of pieces [start, end): a request, then piece after piece at the connection's fair share."""

    def __init__(self, host: "SimulatedHost", command: commands.FetchRange, pieces: PieceMap) -> None:
        self._host = host
        self._command = command
        self._pieces = pieces
        self._index = command.start
        self._flow: Flow | None = None
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return not self._stopped

    def start(self) -> None:
        """Send the request."""
        cluster = self._host.cluster
        cluster.origin_requests += 1
        self._host.soon(cluster.scenario.origin.latency_s, self._answered)

    def stop(self) -> None:
        """Close the connection; the bytes of an unfinished piece were sent for nothing."""
        self._stopped = True
        if self._flow is not None:
            self._host.cluster.origin_bytes += self._flow.cancel()
            self._flow = None

    def _answered(self) -> None:
        if not self._stopped:
            self._host.post(events.OriginAdvanced(self._command.task, self._command.epoch, 0))
            self._next()

    def _next(self) -> None:
        if self._stopped:
            return
        cluster = self._host.cluster
        length = self._pieces.length(self._index)
        rate = cluster.scenario.origin.connection_bytes_per_s
        self._flow = Flow(cluster.clock, cluster.origin_up, self._host.down, length, self._arrived, rate)

    def _arrived(self) -> None:
        self._flow = None
        cluster, command = self._host.cluster, self._command
        cluster.origin_bytes += self._pieces.length(self._index)
        record = PieceRecord(self._index, true_digest(command.task, self._index), command.epoch)
        self._index += 1
        self._host.post(events.OriginPieceArrived(command.task, command.epoch, record))
        if self._index < command.end:
            self._next()
        elif not self._stopped:
            self._stopped = True
            self._host.post(events.OriginEnded(command.task, command.epoch))
