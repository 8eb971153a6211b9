"""A world around one daemon's machine, in which everything that I/O may answer can happen, in any order.

Every command leaves an obligation: a list of things that may come of it. Dice say which obligation is met next, and
how. The world knows what was really written where, so it notices two writers at one place, a wrong piece that is
believed, and anything that is announced before it is recorded.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dfdaemon import commands, events
from dfdaemon.config import EVERY_NODE, DaemonConfig, PeerConfig, StoreConfig
from dfdaemon.events import PeerFault
from dfdaemon.machine import DaemonMachine
from dfdaemon.phase import Phase
from swarm import availability, messages
from swarm.dice import Dice
from swarm.facts import Note
from swarm.ids import UNGRANTED, Epoch, HostId, ReaderId, RequestId, TaskId
from swarm.layers import Layer
from swarm.messages import HostInfo, OriginFault, Parent, PieceRecord
from swarm.pieces import PieceMap

MIB = 1 << 20
HOST = HostId("here")
LIE = b"wrong"
READER = ReaderId(1)
Answer = Callable[[], None]


def truth(task: TaskId, index: int) -> bytes:
    """The right digest of a piece."""
    return f"{task[-4:]}/{index}".encode()


@dataclass
class Disk:
    """One blob: what was written where, and what is recorded."""

    pieces: PieceMap
    slots: int = 0
    written: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    scratch: dict[int, bytes] = field(default_factory=dict)
    recorded: int = 0
    rotten: int = 0
    """Pieces that were damaged after they were recorded."""
    checked: bool = False
    released: int = 0

    def place(self, index: int) -> int:
        """Where a piece lies."""
        return index % self.slots if self.slots else index

    def writes(self, index: int, digest: bytes) -> None:
        """Bytes arrive at a piece's place."""
        self.written[self.place(index)] = (index, digest)
        if self.slots:
            for other in availability.indexes(self.recorded):
                if other != index and self.place(other) == self.place(index):
                    self.recorded &= ~(1 << other)


@dataclass
class Fetch:
    """A fetch from the origin that runs."""

    command: commands.FetchRange
    next_piece: int
    limit: int
    stopping: bool = False


@dataclass
class Odds:
    """How often things go wrong, in percent."""

    fault: int = 0
    lie: int = 0
    busy: int = 0
    slow: int = 0
    """Requests that never end by themselves."""
    disk: int = 0
    origin: int = 0


class World:
    """One machine, some parents, a scheduler, an origin and a disk. `step` lets one thing happen."""

    def __init__(
        self, seed: int, odds: Odds, attached: bool = True, no_room: bool = False, verify: str = EVERY_NODE
    ) -> None:
        self.dice = Dice(seed)
        self.odds = odds
        self.no_room = no_room
        self.attached = attached
        self.now = 100.0
        self.config = DaemonConfig(
            verify=verify, peer=PeerConfig(piece_digest="blake3"), store=StoreConfig(ring_bytes=16 * MIB)
        )
        self.machine = DaemonMachine(HostInfo(HOST, ()), self.config, Dice(seed + 1))
        self.disks: dict[TaskId, Disk] = {}
        self.sizes: dict[TaskId, int] = {}
        self.parents: dict[HostId, dict[TaskId, int]] = {}
        self.liars: set[HostId] = set()
        self.obligations: list[list[Answer]] = []
        self.requests: dict[tuple[HostId, TaskId, int, bool], bool] = {}
        """Open requests; whether they were cancelled."""
        self.fetches: dict[tuple[TaskId, Epoch], Fetch] = {}
        self.failures: dict[TaskId, str] = {}
        self.closed: set[TaskId] = set()
        self.told: list[messages.ToScheduler] = []
        self.origin_pieces: dict[TaskId, list[int]] = {}
        self.granted: dict[tuple[TaskId, Epoch], int] = {}
        """First pieces of the leases granted."""
        self._epoch = 0
        self._uploads = 0
        self._readers = 0
        self.rings = 0
        self.proven = 0
        """Blobs that were complete by the word of others."""
        self._execute = self._table()

    def _table(self) -> dict[type, Callable[..., None]]:
        return {
            commands.TellScheduler: self._told,
            commands.OpenStore: self._open_store,
            commands.OpenRing: self._open_ring,
            commands.CommitPiece: self._commit,
            commands.FollowBlob: self._follow,
            commands.CheckBlob: self._check,
            commands.DropPieces: self._drop,
            commands.CompleteBlob: self._complete,
            commands.CloseTask: self._close,
            commands.ReleaseReaders: self._release,
            commands.FailReaders: self._fail,
            commands.Subscribe: self._subscribe,
            commands.Unsubscribe: lambda c: None,
            commands.RequestPiece: self._request,
            commands.CancelRequest: self._cancel,
            commands.FetchRange: self._fetch,
            commands.RaiseLimit: self._raise_limit,
            commands.StopFetch: self._stop_fetch,
            commands.WriteInline: self._write_inline,
            commands.SendAvailability: self._announced_bits,
            commands.SendGone: lambda c: None,
            commands.SendHave: self._announced_records,
            commands.StartUpload: lambda c: self._announced(c.task, 1 << c.record.index),
            commands.RefuseUpload: lambda c: None,
            commands.AbortUpload: lambda c: None,
            commands.StopSending: lambda c: None,
            commands.WakeChild: lambda c: None,
            Note: lambda c: None,
        }

    # --- running --------------------------------------------------------------------------------------------------

    def post(self, event: events.Event) -> None:
        """Let something happen to the machine, and check that it stayed sane."""
        done = self.machine.handle(event, self.now)
        self.machine.validate()
        for command in done:
            self._execute[type(command)](command)

    def chance(self, percent: int) -> bool:
        """Throw the dice."""
        return self.dice.below(100) < percent

    def step(self) -> bool:
        """Let one obligation be met, or time pass; False when nothing is left to happen."""
        if self.obligations and not self.chance(10):
            answers = self.obligations.pop(self.dice.below(len(self.obligations)))
            self.dice.choose(answers)()
            return True
        at = self.machine.wakeup_at()
        if at == float("inf"):
            return bool(self.obligations)
        if at <= self.now or self.chance(50) or not self.obligations:
            self.now = max(self.now, at)
            self.post(events.TimeReached())
            assert self.machine.wakeup_at() > self.now or self.obligations, "a timer that rang rings no more"
            self.rings = self.rings + 1 if self.machine.wakeup_at() <= self.now else 0
            assert self.rings < 5, "the machine wants to be woken again and again at one time"
        else:
            self.now += (at - self.now) * self.dice.share() / 10
        return True

    def run(self, steps: int, done: Callable[[], bool] = lambda: False) -> None:
        """Let things happen until `done`, or nothing more does."""
        for _ in range(steps):
            if done() or not self.step():
                return

    def owe(self, *answers: Answer) -> None:
        """Something will come of a command: one of these."""
        self.obligations.append(list(answers))

    def want(self, task: TaskId, size: int, may_fetch: bool = True) -> None:
        """A client asks for a blob, and reads it as it comes."""
        self.sizes[task] = size
        self.closed.discard(task)
        self.failures.pop(task, None)
        layer = Layer("image", list(self.sizes).index(task))
        self.post(events.BlobWanted(task, size, "registry.test", may_fetch, layer=layer))
        self.post(events.ReaderOpened(task, READER, 0, size))

    def want_part(self, task: TaskId, size: int, piece: int, count: int = 1) -> None:
        """A client reads some pieces in the middle of a blob, and nobody wants the rest; it stays."""
        self.sizes[task] = size
        self._readers += 1
        pieces = PieceMap.of(size)
        start, end = pieces.start(piece), pieces.end(min(pieces.count, piece + count) - 1)
        self.post(events.BlobWanted(task, size, "registry.test", True, part=True))
        self.post(events.ReaderOpened(task, ReaderId(100 + self._readers), start, end))

    def read_more(self, task: TaskId, piece: int) -> None:
        """Another client reads from some piece on, and leaves some time later."""
        self._readers += 1
        reader = ReaderId(100 + self._readers)
        size = self.sizes[task]
        self.post(events.ReaderOpened(task, reader, PieceMap.of(size).start(piece), size))
        self.owe(lambda: self.post(events.ReaderClosed(task, reader)))

    def is_checking(self, task: TaskId) -> bool:
        """Whether the blob's own digest is being computed."""
        return self.machine.downloads[task].phase is Phase.CHECKING

    def has_read(self, task: TaskId) -> bool:
        """Whether the client has all of a blob."""
        disk = self.disks.get(task)
        return disk is not None and disk.released == availability.full(disk.pieces.count)

    # --- the store ------------------------------------------------------------------------------------------------

    def _disk(self, task: TaskId) -> Disk:
        return self.disks.setdefault(task, Disk(PieceMap.of(self.sizes[task])))

    def _open_store(self, command: commands.OpenStore) -> None:
        disk = self._disk(command.task)
        disk.released = 0
        if self.no_room:
            self.owe(lambda: self.post(events.StoreRefused(command.task)))
            return

        def opened() -> None:
            bits = availability.indexes(disk.recorded)
            records = tuple(PieceRecord(i, disk.written[i][1], UNGRANTED) for i in bits)
            self.post(events.StoreOpened(command.task, records, disk.checked))

        self.owe(opened)

    def _open_ring(self, command: commands.OpenRing) -> None:
        disk = self._disk(command.task)
        disk.slots, disk.recorded = command.slots, 0
        assert command.slots * disk.pieces.piece_bytes <= self.config.store.ring_bytes, "a ring is bounded"

    def _commit(self, command: commands.CommitPiece) -> None:
        disk, record = self.disks[command.task], command.record
        if command.scratch:
            self._free_place(command.task, record.index)
            disk.writes(record.index, disk.scratch.pop(record.index))
        assert disk.written[disk.place(record.index)] == (record.index, record.digest), (
            "what is recorded is there"
        )

        def committed() -> None:
            disk.recorded |= 1 << record.index
            self.post(events.PieceCommitted(command.task, record.index))

        lost = self.odds.disk and self.chance(self.odds.disk)
        self.owe((lambda: self.post(events.PieceLost(command.task, record.index))) if lost else committed)

    def _follow(self, command: commands.FollowBlob) -> None:
        assert not self.disks[command.task].slots, "what is not stored is not read behind the download"

    def _check(self, command: commands.CheckBlob) -> None:
        disk = self.disks[command.task]
        assert disk.recorded == availability.full(disk.pieces.count), "only a whole blob is checked"

        def checked() -> None:
            disk.checked = all(
                disk.written[i][1] == truth(command.task, i) for i in availability.indexes(disk.recorded)
            ) and disk.recorded == availability.full(disk.pieces.count)
            self.post(events.BlobChecked(command.task, disk.checked))

        self.owe(checked)

    def _drop(self, command: commands.DropPieces) -> None:
        disk = self.disks[command.task]
        disk.recorded &= ~command.bits

    def _complete(self, command: commands.CompleteBlob) -> None:
        disk = self.disks[command.task]
        if command.proven:
            self.proven += 1
            bits = availability.indexes(disk.recorded)
            disk.checked = all(disk.written[i][1] == truth(command.task, i) for i in bits)
        assert disk.checked, "only a blob with the right digest is complete"
        assert disk.recorded == availability.full(disk.pieces.count), "only a whole blob is complete"

    def _close(self, command: commands.CloseTask) -> None:
        task = command.task
        assert not [key for key in self.requests if key[1] == task], "nothing writes when a task closes"
        assert not [key for key in self.fetches if key[0] == task], "nothing is fetched when a task closes"
        self.closed.add(task)
        disk = self._disk(task)
        if disk.slots:
            del self.disks[task]

    def _write_inline(self, command: commands.WriteInline) -> None:
        disk = self.disks[command.task]
        self._free_place(command.task, 0)

        def written() -> None:
            disk.writes(0, truth(command.task, 0))
            disk.recorded, disk.checked = 1, True
            self.post(
                events.InlineWritten(command.task, (PieceRecord(0, truth(command.task, 0), UNGRANTED),))
            )

        self.owe(written)

    # --- readers --------------------------------------------------------------------------------------------------

    def _release(self, command: commands.ReleaseReaders) -> None:
        disk = self.disks[command.task]
        assert not command.bits & ~disk.recorded, "readers get what is recorded"
        if not disk.slots:
            disk.released = command.bits
            prefix = availability.first_missing(command.bits)
        else:
            prefix = availability.first_missing(disk.released | command.bits)
            disk.released |= availability.span(0, prefix)
        if prefix:
            offset = disk.pieces.end(min(prefix, disk.pieces.count) - 1)
            self.owe(lambda: self.post(events.ReaderAdvanced(command.task, READER, offset)))

    def _fail(self, command: commands.FailReaders) -> None:
        self.failures[command.task] = command.reason
        self.owe(lambda: self.post(events.ReaderClosed(command.task, READER)))

    # --- parents --------------------------------------------------------------------------------------------------

    def add_parent(self, name: str, task: TaskId, bits: int, lies: bool = False) -> Parent:
        """A host that holds some of a task."""
        self.parents.setdefault(HostId(name), {})[task] = bits
        if lies:
            self.liars.add(HostId(name))
        return Parent(HostId(name), ())

    def _subscribe(self, command: commands.Subscribe) -> None:
        host, task = command.parent.host, command.task
        holds = self.parents.get(host, {}).get(task)
        if holds is None:
            self.owe(
                lambda: self.post(events.ParentGone(host, task)),
                lambda: self.post(events.ParentLost(host, PeerFault.UNREACHABLE)),
            )
        else:
            self.owe(lambda: self.post(events.ParentAvailable(host, task, self.parents[host].get(task, 0))))

    def parent_gains(self, host: HostId, task: TaskId, bits: int) -> None:
        """A parent has more than before, and says so."""
        self.parents[host][task] |= bits
        records = tuple(
            PieceRecord(i, self._claim(host, task, i), Epoch(1)) for i in availability.indexes(bits)
        )
        self.post(events.ParentHas(host, task, records))

    def _claim(self, host: HostId, task: TaskId, index: int) -> bytes:
        return LIE if host in self.liars and index % 2 else truth(task, index)

    def _free_place(self, task: TaskId, index: int) -> None:
        """Nothing else writes where this piece goes, and nothing that is held lies there."""
        disk = self.disks[task]
        place = disk.place(index)
        for _, other_task, other, scratch in self.requests:
            if other_task == task and not scratch:
                assert disk.place(other) != place, f"pieces {index} and {other} are written at one place"
        for (other_task, _), fetch in self.fetches.items():
            end = fetch.command.end if fetch.limit < 0 else min(fetch.limit, fetch.command.end)
            if other_task == task:
                for other in range(fetch.next_piece, end):
                    assert disk.place(other) != place, f"pieces {index} and {other} are written at one place"
        for other in availability.indexes(self.machine.downloads[task].blob.table.verified):
            assert disk.place(other) != place, f"piece {index} is written over piece {other}, which is held"

    def _request(self, command: commands.RequestPiece) -> None:
        key = (command.parent, command.task, command.index, command.scratch)
        assert key not in self.requests, "a parent is asked once for a piece"
        if not command.scratch:
            self._free_place(command.task, command.index)
        self.requests[key] = False
        if self.odds.slow and self.chance(self.odds.slow):
            return
        answers = [lambda: self._arrive(key)]
        if self.chance(self.odds.busy):
            answers = [lambda: self._end(key, lambda: events.ParentBusy(*key[:3]))]
            self.owe(lambda: self.post(events.ParentReady(command.parent)))
        elif self.chance(self.odds.fault):
            faults = [PeerFault.CLOSED, PeerFault.TIMEOUT, PeerFault.GONE, PeerFault.DISK, PeerFault.PROTOCOL]
            answers = [lambda: self._fail_request(key, self.dice.choose(faults))]
        self.owe(*answers)

    def _end(self, key: tuple[HostId, TaskId, int, bool], event: Callable[[], events.Event]) -> None:
        if key in self.requests:
            del self.requests[key]
            self.post(event())

    def _fail_request(self, key: tuple[HostId, TaskId, int, bool], fault: PeerFault) -> None:
        host, task, index, scratch = key
        self._end(key, lambda: events.PieceFailed(host, task, index, fault, scratch))

    def _arrive(self, key: tuple[HostId, TaskId, int, bool]) -> None:
        host, task, index, scratch = key
        if key not in self.requests:
            return
        claimed = self._claim(host, task, index)
        actual = LIE if self.chance(self.odds.lie) else claimed
        if scratch:
            self.disks[task].scratch[index] = actual
        else:
            self.disks[task].writes(index, actual)
        record = PieceRecord(index, claimed, Epoch(1))
        self._end(key, lambda: events.PieceArrived(host, task, record, actual, 0.01, scratch))

    def _cancel(self, command: commands.CancelRequest) -> None:
        key = (command.parent, command.task, command.index, command.scratch)
        if key in self.requests:
            assert not self.requests[key], "a request is taken back once"
            self.requests[key] = True
            self.owe(lambda: self._fail_request(key, PeerFault.CANCELLED), lambda: self._arrive(key))

    # --- the origin -----------------------------------------------------------------------------------------------

    def _fetch(self, command: commands.FetchRange) -> None:
        key = (command.task, command.epoch)
        assert key not in self.fetches, "an epoch is fetched once at a time"
        end = command.end if command.limit < 0 else min(command.limit, command.end)
        for index in range(command.start, end):
            self._free_place(command.task, index)
        self.fetches[key] = Fetch(command, command.start, command.limit)
        self.owe(lambda: self._go_on(key))

    def _go_on(self, key: tuple[TaskId, Epoch]) -> None:
        """The next thing happens to a fetch."""
        fetch = self.fetches.get(key)
        if fetch is None or fetch.stopping:
            return
        task, epoch = key
        if self.chance(self.odds.origin):
            faults = [OriginFault.CUT, OriginFault.TIMEOUT, OriginFault.THROTTLED, OriginFault.SERVER_ERROR]
            del self.fetches[key]
            self.post(events.OriginEnded(task, epoch, self.dice.choose(faults), 0.5))
        elif fetch.next_piece == fetch.command.end:
            del self.fetches[key]
            self.post(events.OriginEnded(task, epoch))
        elif fetch.next_piece == fetch.limit:
            self.owe(lambda: self._go_on(key))
        else:
            index = fetch.next_piece
            fetch.next_piece += 1
            self.disks[task].writes(index, truth(task, index))
            self.origin_pieces.setdefault(task, []).append(index)
            self.owe(lambda: self._go_on(key))
            self.post(events.OriginAdvanced(task, epoch, 1))
            self.post(events.OriginPieceArrived(task, epoch, PieceRecord(index, truth(task, index), epoch)))

    def _raise_limit(self, command: commands.RaiseLimit) -> None:
        fetch = self.fetches[command.task, command.epoch]
        before, fetch.limit = fetch.limit, command.limit
        fetch.limit, allowed = before, range(before, min(command.limit, fetch.command.end))
        for index in allowed:
            self._free_place(command.task, index)
        fetch.limit = command.limit

    def _stop_fetch(self, command: commands.StopFetch) -> None:
        key = (command.task, command.epoch)
        fetch = self.fetches.get(key)
        if fetch is None:
            return
        fetch.stopping = True

        def stopped() -> None:
            del self.fetches[key]
            self.post(events.OriginEnded(command.task, command.epoch))

        self.owe(stopped)

    # --- the scheduler --------------------------------------------------------------------------------------------

    def _told(self, command: commands.TellScheduler) -> None:
        assert self.attached, "nothing is told to nobody"
        self.told.append(command.message)
        match command.message:
            case messages.Progress(tasks):
                for progress in tasks:
                    self._announced(progress.task, progress.bits)
            case messages.Join(task) | messages.Starving(task):
                self.owe(lambda: self.help(task))
            case messages.Completed(task):
                assert self.disks[task].checked, "only a blob with the right digest is complete"
            case messages.LeaseProgress(task, epoch, next_piece) if not self.disks[task].slots:
                done = availability.span(self.granted[task, epoch], next_piece)
                disk = self.disks[task]
                assert not done & ~disk.recorded & ~disk.rotten, (
                    "a lease is as far as its pieces are recorded"
                )

    def attach(self) -> None:
        """A scheduler is there."""
        self.attached = True
        self.post(events.SchedulerAttached())
        for task in list(self.machine.downloads):
            self.owe(lambda task=task: self.help(task))  # type: ignore[misc]

    def lose(self) -> None:
        """The scheduler is gone."""
        self.attached = False
        self.post(events.SchedulerLost("connection closed"))

    def help(self, task: TaskId) -> None:
        """The scheduler names all hosts that have a task, and lets it fetch what none of them has."""
        download = self.machine.downloads.get(task)
        if not self.attached or download is None or download.phase is not Phase.RUNNING:
            return
        hosts = tuple(Parent(host, ()) for host, tasks in self.parents.items() if tasks.get(task))
        self.post(events.SchedulerSaid(messages.Parents(task, hosts)))
        offered = 0
        for tasks in self.parents.values():
            offered |= tasks.get(task, 0)
        missing = download.blob.table.missing & ~offered
        if download.blob.is_part:  # its Join says that it takes no lease
            if not offered:
                self.post(events.SchedulerSaid(messages.NoSource(task, OriginFault.ABANDONED)))
        elif missing and not any(fetching == task for fetching, _ in self.fetches):
            self._epoch += 1
            run = next(availability.runs(missing))
            self.granted[task, Epoch(self._epoch)] = run[0]
            lease = messages.Lease(task, Epoch(self._epoch), *run, 10.0, private=self.no_room)
            self.post(events.SchedulerSaid(lease))

    # --- children -------------------------------------------------------------------------------------------------

    def child_asks(self, task: TaskId, index: int) -> None:
        """A child wants a piece."""
        self._uploads += 1
        request = RequestId(self._uploads)
        self.post(events.ChildSubscribed(HostId("child"), task))
        self.post(events.PieceRequested(HostId("child"), request, task, index))

    def _announced(self, task: TaskId, bits: int) -> None:
        disk = self.disks[task]
        assert not disk.slots, "a ring is never announced"
        assert not bits & ~disk.recorded, "only what is recorded is announced"

    def _announced_bits(self, command: commands.SendAvailability) -> None:
        self._announced(command.task, command.bits)

    def _announced_records(self, command: commands.SendHave) -> None:
        self._announced(command.task, sum(1 << record.index for record in command.records))


def tasks(count: int) -> Iterable[TaskId]:
    """Names for some blobs."""
    return [TaskId(f"sha256:{number:064x}") for number in range(1, count + 1)]
