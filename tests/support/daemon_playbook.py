"""A dialogue with a daemon's machine: `>>` says what happened, `<<` says what it must do about it, in order.

    playbook >> StoreOpened(TASK) << TellScheduler(Join(TASK, ...))

Before the next `>>` everything that the machine did must have been named. Notes, which only inform, are kept apart.
"""

from typing import Any

from dfdaemon import commands, events
from dfdaemon.config import EVERY_NODE, DaemonConfig, PeerConfig, SchedulerLinkConfig, StoreConfig
from dfdaemon.machine import DaemonMachine
from swarm import messages
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import Epoch, HostId, ReaderId, TaskId
from swarm.messages import HostInfo, Parent, PieceRecord
from swarm.pieces import PIECE_BYTES_MIN

PIECE = PIECE_BYTES_MIN
TASK = TaskId("sha256:" + "a" * 64)
OTHER_TASK = TaskId("sha256:" + "b" * 64)
REGISTRY = "registry.test"
READER = ReaderId(7)
HERE = HostId("here")


class Anything:
    """Stands for one command of a type, whatever it says."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return type(other) is self.kind

    def __hash__(self) -> int:
        return hash(self.kind)

    def __repr__(self) -> str:
        return f"any {self.kind.__name__}"


class Playbook:
    """One machine, its clock, and what it did that was not named yet."""

    def __init__(
        self,
        slots: int = 4,
        seed: int = 1,
        zone: str = "",
        ring_bytes: int = 32 << 20,
        verify: str = EVERY_NODE,
        schedulers: tuple[str, ...] = (),
    ) -> None:
        config = DaemonConfig(
            verify=verify,
            peer=PeerConfig(download_slots=slots, piece_digest="blake3"),
            store=StoreConfig(ring_bytes=ring_bytes),
            scheduler=SchedulerLinkConfig(addresses=schedulers),
        )
        self.machine = DaemonMachine(HostInfo(HERE, (), zone), config, Dice(seed))
        self.now = 100.0
        self.done: list[Any] = []
        self.notes: list[Note] = []

    def at(self, seconds: float) -> "Playbook":
        """Let time pass: `seconds` after the start of the dialogue."""
        assert 100.0 + seconds >= self.now, "time never goes back"
        self.now = 100.0 + seconds
        return self

    def __rshift__(self, event: events.Event) -> "Playbook":
        assert not self.done, f"the machine did more: {self.done}"
        done = self.machine.handle(event, self.now)
        self.machine.validate()
        self.notes += [command for command in done if isinstance(command, Note)]
        self.done = [command for command in done if not isinstance(command, Note)]
        return self

    def __lshift__(self, command: Any) -> "Playbook":
        assert self.done, f"expected {command}, and the machine did nothing more"
        assert self.done[0] == command, f"expected {command}, got {self.done[0]}"
        del self.done[0]
        return self

    def said(self, message: Any) -> "Playbook":
        """The scheduler says something."""
        return self >> events.SchedulerSaid(message)

    def told(self, message: Any) -> "Playbook":
        """The scheduler must be told this."""
        return self << commands.TellScheduler(message)

    def time(self) -> "Playbook":
        """Let time pass until the machine wants to be woken."""
        self.now = self.machine.wakeup_at()
        assert self.now < float("inf"), "the machine waits for nothing"
        return self >> events.TimeReached()

    def later(self, seconds: float) -> list[Any]:
        """Let this much time pass, waking the machine as it wants; return what it did."""
        until, done = self.now + seconds, []
        while self.machine.wakeup_at() <= until:
            self.time()
            done += self.skip()
        self.at(until - 100.0)
        return done

    def skip(self) -> list[Any]:
        """Return what the machine did; it needs no naming."""
        done, self.done = self.done, []
        return done

    # --- scenes -----------------------------------------------------------------------------------------------

    def attached(self) -> "Playbook":
        """A scheduler is there."""
        return (self >> events.SchedulerAttached()) << Anything(commands.TellScheduler)

    def alone(self) -> "Playbook":
        """There is no scheduler."""
        return self >> events.SchedulerLost("none is configured")

    def wanted(self, pieces: int, task: TaskId = TASK, may_fetch: bool = True) -> "Playbook":
        """A client wants a blob and reads it, and the store has room."""
        size = pieces * PIECE
        self >> events.BlobWanted(task, size, REGISTRY, may_fetch) << commands.OpenStore(task, size)
        self >> events.ReaderOpened(task, READER, 0, size)
        return self >> events.StoreOpened(task)

    def joined(self, pieces: int, task: TaskId = TASK, may_fetch: bool = True) -> "Playbook":
        """The same with a scheduler, which is told."""
        self.wanted(pieces, task, may_fetch)
        return self.told(messages.Join(task, pieces * PIECE, REGISTRY, may_fetch))

    def with_parents(self, *pictures: str, task: TaskId = TASK) -> "Playbook":
        """Parents a, b, c, ... hold what the pictures show: `1` for a piece, `0` or a space for none."""
        names = [HostId(chr(ord("a") + number)) for number in range(len(pictures))]
        parents = tuple(Parent(name, ()) for name in names)
        self.said(messages.Parents(task, parents))
        for parent in parents:
            self << commands.Subscribe(parent, task)
        for name, picture in zip(names, pictures, strict=True):
            self >> events.ParentAvailable(name, task, bits_of(picture))
            if name != names[-1]:
                self.waiting = self.skip()
        return self

    def requests(self) -> list[tuple[str, int]]:
        """Return the (parent, piece) asked for just now; nothing else may have been done."""
        done = self.skip()
        assert all(isinstance(command, commands.RequestPiece) for command in done), done
        return [(command.parent, command.index) for command in done]

    def arrives(self, parent: str, index: int, digest: bytes = b"", scratch: bool = False) -> "Playbook":
        """A piece comes from a parent, as it said, and right unless another digest is named."""
        claimed = record(index)
        return self >> events.PieceArrived(
            HostId(parent), TASK, claimed, digest or claimed.digest, 0.01, scratch
        )


def bits_of(picture: str) -> int:
    """Read a picture of pieces, the first one left: `1`, `*` or `#` is held."""
    return sum(1 << index for index, mark in enumerate(picture) if mark in "1*#")


def record(index: int, epoch: int = 1) -> PieceRecord:
    """The right record of a piece."""
    return PieceRecord(index, f"digest {index}".encode(), Epoch(epoch))
