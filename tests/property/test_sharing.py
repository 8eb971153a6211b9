"""Sharing under any order of events: slots hold, a request has one answer, who waits is woken, nothing is made up."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dfdaemon import commands, events
from dfdaemon.admission import AT_ONCE_MAX
from dfdaemon.commands import Command
from dfdaemon.config import DaemonConfig, PeerConfig
from dfdaemon.sharing import Sharing
from swarm.dice import Dice
from swarm.ids import Epoch, HostId, RequestId, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import PIECE_BYTES_MIN

SIZE = 4 * PIECE_BYTES_MIN
PIECES = 4
TASKS = [TaskId(f"sha256:{name * 64}") for name in "ab"]
CHILDREN = [HostId(name) for name in ("one", "two", "three", "four")]
CHILDREN_MAX = 3

tasks, children, indexes = st.sampled_from(TASKS), st.sampled_from(CHILDREN), st.integers(0, PIECES)


def record(index: int) -> PieceRecord:
    return PieceRecord(index, bytes(16), Epoch(1))


class SharingMachine(RuleBasedStateMachine):
    """The peer server and its children, as they must be able to rely on Sharing."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.held: dict[TaskId, set[int]] = {}
        self.running: dict[tuple[HostId, RequestId], TaskId] = {}
        self.busy: set[HostId] = set()
        self.requests = 0
        self.stopped = False

    @initialize(slots=st.integers(1, 4), uplink=st.sampled_from([0, 10 << 20]), seed=st.integers(0, 9))
    def start(self, slots: int, uplink: int, seed: int) -> None:
        peer = PeerConfig(upload_slots=slots, children_max=CHILDREN_MAX)
        self.sharing = Sharing(DaemonConfig(upload_bytes_per_s=uplink, peer=peer), Dice(seed))
        self.at_once_max = AT_ONCE_MAX if uplink else slots

    def do(self, result: list[Command]) -> list[Command]:
        """Carry commands out as I/O would, and check each."""
        for command in result:
            match command:
                case commands.StartUpload(child, request, task, piece):
                    assert piece.index in self.held[task], "only what is held is served"
                    assert (child, request) not in self.running
                    self.running[child, request] = task
                case commands.RefuseUpload(child, _, gone):
                    if not gone:
                        self.busy.add(child)
                case commands.WakeChild(child):
                    assert child in self.busy, "only who was refused is woken, and once"
                    self.busy.discard(child)
                case commands.SendHave(_, task, pieces):
                    assert {piece.index for piece in pieces} <= self.held[task], "only what is held is told"
                case commands.SendAvailability(_, task, size, bits):
                    assert (size, bits) == (SIZE, sum(1 << index for index in self.held[task]))
                case commands.AbortUpload(child, request):
                    assert (child, request) in self.running
                case commands.StopSending(task, bits):
                    assert bits, "nothing is done where nothing is dropped"
                    assert not bits & sum(1 << index for index in self.held.get(task, ())), (
                        "what is held is sent"
                    )
        assert len(self.running) == self.sharing.uploads <= self.at_once_max
        return result

    def happens(self, event: events.Event) -> list[Command]:
        return self.do(self.sharing.handle(event, self.now))

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 0.1, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.sharing.wakeup_at() <= self.now:
            self.happens(events.TimeReached())

    @rule(task=tasks, pieces=st.sets(st.integers(0, PIECES - 1)))
    def offer(self, task: TaskId, pieces: set[int]) -> None:
        self.held[task] = pieces
        self.do(self.sharing.offer(task, SIZE, [record(index) for index in pieces]))

    @rule(task=tasks, index=st.integers(0, PIECES - 1))
    def gain(self, task: TaskId, index: int) -> None:
        if task in self.held:
            self.held[task].add(index)
            self.do(self.sharing.gained(task, [record(index)], self.now))

    @rule(task=tasks, index=st.integers(0, PIECES - 1))
    def lose(self, task: TaskId, index: int) -> None:
        self.held.get(task, set()).discard(index)
        self.do(self.sharing.lost(task, 1 << index))

    @rule(task=tasks)
    def forget(self, task: TaskId) -> None:
        self.held.pop(task, None)
        self.do(self.sharing.forget(task))

    @rule(child=children, task=tasks)
    def subscribe(self, child: HostId, task: TaskId) -> None:
        (answer,) = (
            command
            for command in self.happens(events.ChildSubscribed(child, task))
            if isinstance(command, commands.SendAvailability | commands.SendGone)
        )
        assert (answer.child, answer.task) == (child, task)

    @rule(child=children, task=tasks)
    def unsubscribe(self, child: HostId, task: TaskId) -> None:
        self.happens(events.ChildUnsubscribed(child, task))

    @rule(child=children)
    def lose_child(self, child: HostId) -> None:
        for key in [key for key in self.running if key[0] == child]:
            self.end(key, sent=0)
        self.happens(events.ChildLost(child))
        self.busy.discard(child)

    @rule(child=children, task=tasks, index=indexes)
    def request(self, child: HostId, task: TaskId, index: int) -> None:
        self.requests += 1
        request = RequestId(self.requests)
        result = self.happens(events.PieceRequested(child, request, task, index))
        answers = [c for c in result if isinstance(c, commands.StartUpload | commands.RefuseUpload)]
        assert [(answer.child, answer.request) for answer in answers] == [(child, request)]
        if index not in self.held.get(task, set()) or self.stopped:
            assert answers == [commands.RefuseUpload(child, request, gone=True)]

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(), sent=st.sampled_from([0, PIECE_BYTES_MIN]), seconds=st.sampled_from([0.0, 0.01, 1.0])
    )
    def upload_ends(self, data: st.DataObject, sent: int, seconds: float) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.running))), sent, seconds)

    def end(self, key: tuple[HostId, RequestId], sent: int, seconds: float = 0.01) -> None:
        task = self.running.pop(key)
        self.happens(events.UploadEnded(*key, task, sent, seconds, failed=not sent))

    @rule()
    def stop(self) -> None:
        if self.requests > 10:
            self.happens(events.Stopping())
            self.stopped = True
            self.busy.clear()

    @invariant()
    def holds_together(self) -> None:
        if hasattr(self, "sharing"):
            self.sharing.validate()

    def teardown(self) -> None:
        """When uploads end and time passes, every child that waits is woken, and then nothing is left to do."""
        for key in list(self.running):
            self.end(key, sent=PIECE_BYTES_MIN)
        for _ in range(100):
            at = self.sharing.wakeup_at() if hasattr(self, "sharing") else float("inf")
            if at == float("inf"):
                break
            self.now = max(self.now, at)
            self.happens(events.TimeReached())
        else:
            raise AssertionError("it wakes itself for nothing")
        assert not self.busy, "every child that was refused is woken"


TestSharing = SharingMachine.TestCase
TestSharing.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
