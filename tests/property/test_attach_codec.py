"""Every message survives the way through protobuf, and nothing malformed gets through."""

from typing import get_args

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from swarm import messages as m
from swarm import repositories as r
from swarm.errors import SchedulerError, WireError
from swarm.ids import Epoch, HostId, TaskId
from swarm.io import attach_codec as codec
from swarm.io.attach_fields import PIECES_MAX, RATE_MAX, SECONDS_MAX, TEXT_MAX
from swarm.io.attach_proof import Challenge, Proof, Welcome
from swarm.layers import Layer
from swarm.pieces import BLOB_BYTES_MAX, INLINE_BYTES_MAX, PieceMap
from swarm.roots import BlobProved, Proven
from swarm.rpc import attach_pb2 as pb

HEX = "0123456789abcdef"

tasks = st.one_of(
    st.text(HEX, min_size=64, max_size=64).map(lambda text: TaskId(f"sha256:{text}")),
    st.text(HEX, min_size=128, max_size=128).map(lambda text: TaskId(f"sha512:{text}")),
)
tasks_or_none = st.one_of(tasks, st.just(TaskId("")))
hosts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40).map(HostId)
texts = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=TEXT_MAX)
sizes = st.integers(0, BLOB_BYTES_MAX)
sizes_or_unknown = st.one_of(st.just(-1), sizes)
rates = st.integers(0, RATE_MAX)
seconds = st.floats(0, SECONDS_MAX)
epochs = st.integers(0, (1 << 64) - 1).map(Epoch)
layers = st.one_of(st.none(), st.builds(Layer, texts, st.integers(0, (1 << 32) - 1)))
bits = st.one_of(st.integers(0, (1 << 300) - 1), st.integers(0, PIECES_MAX - 1).map(lambda index: 1 << index))
piece_digests = st.one_of(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
nonces = st.binary(min_size=32, max_size=32)
macs = st.one_of(st.just(b""), nonces)
addresses = st.builds(m.Address, hosts, st.integers(1, 65535))
address_lists = st.lists(addresses, max_size=3).map(tuple)


def records_below(count: int) -> st.SearchStrategy[tuple[m.PieceRecord, ...]]:
    """Records of a blob of `count` pieces."""
    if count == 0:
        return st.just(())
    record = st.builds(m.PieceRecord, st.integers(0, count - 1), piece_digests, epochs)
    return st.lists(record, max_size=min(count, 5)).map(tuple)


def bits_below(count: int) -> st.SearchStrategy[int]:
    """Bitmaps of a blob of `count` pieces; the full one is likely."""
    everything = (1 << count) - 1
    return st.one_of(
        st.just(everything), st.just(0), st.binary(max_size=32).map(lambda b: int.from_bytes(b) & everything)
    )


@st.composite
def held_leases(draw: st.DrawFn, count: int) -> m.HeldLease:
    start, next_piece, end = sorted(draw(st.tuples(*[st.integers(0, count)] * 3)))
    return m.HeldLease(start, end, next_piece, draw(epochs))


@st.composite
def active_tasks(draw: st.DrawFn) -> m.ActiveTask:
    size = draw(sizes)
    count = PieceMap.of(size).count
    leases = tuple(draw(st.lists(held_leases(count), max_size=2)))
    return m.ActiveTask(
        draw(tasks),
        size,
        draw(texts),
        draw(bits_below(count)),
        draw(st.booleans()),
        draw(st.booleans()),
        leases,
        draw(st.booleans()),
        draw(layers),
    )


@st.composite
def joins(draw: st.DrawFn) -> m.Join:
    size = draw(sizes)
    held = draw(bits_below(PieceMap.of(size).count))
    priority = draw(st.sampled_from(m.Priority))
    flags = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    return m.Join(draw(tasks), size, draw(texts), *flags[:2], priority, held, flags[2], draw(layers))


@st.composite
def task_infos(draw: st.DrawFn) -> m.TaskInfo:
    size = draw(sizes)
    records = draw(records_below(PieceMap.of(size).count))
    return m.TaskInfo(draw(tasks), size, records, draw(st.booleans()))


@st.composite
def leases(draw: st.DrawFn) -> m.Lease:
    start, end = sorted(draw(st.tuples(*[st.integers(0, PIECES_MAX)] * 2)))
    flags = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    return m.Lease(draw(tasks), draw(epochs), start, end, draw(seconds), *flags)


host_infos = st.builds(
    m.HostInfo, hosts, address_lists, texts, texts, st.sampled_from(m.Role), rates, rates, texts
)
held_blobs = st.builds(m.HeldBlob, tasks, sizes)
any_records = records_below(PIECES_MAX)
task_progresses = st.builds(m.TaskProgress, tasks, bits, any_records)
contents = st.one_of(st.binary(max_size=64), st.just(bytes(INLINE_BYTES_MAX)))
faults = st.sampled_from(m.OriginFault)
indexes = st.integers(0, PIECES_MAX - 1)
parents = st.builds(m.Parent, hosts, address_lists, texts, bits)


def few(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Short tuples."""
    return st.lists(strategy, max_size=3).map(tuple)


@st.composite
def repository_reports(draw: st.DrawFn) -> r.RepositoryReport:
    members = tuple(draw(st.lists(tasks, max_size=3)))
    sizes = tuple(draw(sizes_or_unknown) for _ in members) if draw(st.booleans()) else ()
    flags = draw(st.tuples(st.booleans(), st.booleans()))
    unproven = tuple(draw(st.lists(tasks, max_size=2)))
    types = tuple(draw(texts) for _ in members) if draw(st.booleans()) else ()
    return r.RepositoryReport(draw(texts), draw(texts), flags[0], members, sizes, flags[1], unproven, types)


DAEMON = {
    Proof: st.builds(Proof, st.integers(0, 1 << 31), hosts, nonces, macs),
    m.Hello: st.builds(m.Hello, host_infos, few(active_tasks()), few(held_blobs)),
    m.Join: joins(),
    m.Progress: st.builds(m.Progress, few(task_progresses)),
    m.Starving: st.builds(m.Starving, tasks, bits),
    m.LeaseProgress: st.builds(m.LeaseProgress, tasks, epochs, st.integers(0, PIECES_MAX), sizes),
    m.LeaseFailed: st.builds(
        m.LeaseFailed, tasks, epochs, st.integers(0, PIECES_MAX), faults, seconds, sizes_or_unknown
    ),
    m.PieceRejected: st.builds(
        m.PieceRejected, tasks, indexes, hosts, piece_digests, piece_digests, st.booleans()
    ),
    m.Load: st.builds(m.Load, rates, rates, st.integers(0, 1 << 31)),
    m.Completed: st.builds(m.Completed, tasks),
    m.Leave: st.builds(m.Leave, tasks_or_none),
    m.InlineContent: st.builds(m.InlineContent, tasks, contents, texts),
    BlobProved: st.builds(BlobProved, tasks, nonces),
    r.TagReport: st.builds(r.TagReport, texts, texts, texts, tasks, texts, sizes_or_unknown),
    r.TagUnresolved: st.builds(r.TagUnresolved, texts, texts, texts, st.booleans()),
    r.TagPushed: st.builds(r.TagPushed, texts, texts, texts),
    r.RepositoryReport: repository_reports(),
    r.AskRepository: st.builds(
        r.AskRepository, st.integers(0, 1 << 60), texts, texts, texts, tasks_or_none, st.booleans()
    ),
}
SCHEDULER = {
    Challenge: st.builds(Challenge, st.integers(0, 1 << 31), nonces),
    Welcome: st.builds(Welcome, macs),
    m.Settings: st.builds(m.Settings, seconds, seconds, st.booleans()),
    m.TaskInfo: task_infos(),
    m.Parents: st.builds(m.Parents, tasks, few(parents)),
    m.Lease: leases(),
    m.Imports: st.builds(m.Imports, tasks, bits),
    m.LeaseRevoked: st.builds(m.LeaseRevoked, tasks, epochs),
    m.Quarantine: st.builds(m.Quarantine, hosts, seconds),
    m.Inline: st.builds(m.Inline, tasks, contents),
    m.NoSource: st.builds(m.NoSource, tasks, faults),
    r.RepositoryAnswer: st.builds(
        r.RepositoryAnswer,
        st.integers(0, 1 << 60),
        st.booleans(),
        tasks_or_none,
        texts,
        sizes_or_unknown,
        st.booleans(),
        seconds,
        st.booleans(),
        st.booleans(),
    ),
    Proven: st.builds(Proven, tasks, macs),
    r.ResolveTag: st.builds(r.ResolveTag, texts, texts, texts),
    r.Denials: st.builds(r.Denials, few(tasks), few(tasks)),
    r.Purge: st.builds(r.Purge, tasks_or_none, texts, texts, texts),
}


def through_daemon_stream(messages: list[codec.FromDaemon]) -> list[codec.FromDaemon]:
    wire = [batch.SerializeToString() for batch in codec.to_scheduler(messages)]
    return [message for data in wire for message in codec.from_daemon(pb.DaemonBatch.FromString(data))]


def through_scheduler_stream(messages: list[codec.FromScheduler]) -> list[codec.FromScheduler]:
    wire = [batch.SerializeToString() for batch in codec.to_daemon(messages)]
    return [message for data in wire for message in codec.from_scheduler(pb.SchedulerBatch.FromString(data))]


def test_every_message_has_a_strategy() -> None:
    assert set(DAEMON) == {Proof, *get_args(m.ToScheduler)}
    assert set(SCHEDULER) == {Challenge, Welcome, *get_args(m.ToDaemon)}


@pytest.mark.parametrize("kind", DAEMON, ids=lambda kind: kind.__name__)
def test_each_daemon_message_survives(kind: type) -> None:
    @given(DAEMON[kind])
    def survives(message: codec.FromDaemon) -> None:
        assert through_daemon_stream([message]) == [message]

    survives()


@pytest.mark.parametrize("kind", SCHEDULER, ids=lambda kind: kind.__name__)
def test_each_scheduler_message_survives(kind: type) -> None:
    @given(SCHEDULER[kind])
    def survives(message: codec.FromScheduler) -> None:
        assert through_scheduler_stream([message]) == [message]

    survives()


@given(st.lists(st.one_of(*DAEMON.values()), max_size=20))
def test_daemon_batches_keep_order(messages: list[codec.FromDaemon]) -> None:
    assert through_daemon_stream(messages) == messages


@given(st.lists(st.one_of(*SCHEDULER.values()), max_size=20))
def test_scheduler_batches_keep_order(messages: list[codec.FromScheduler]) -> None:
    assert through_scheduler_stream(messages) == messages


@given(st.lists(st.integers(1, INLINE_BYTES_MAX), min_size=40, max_size=80))
def test_large_messages_are_spread_over_bounded_batches(lengths: list[int]) -> None:
    task = TaskId("sha256:" + "0" * 64)
    batches = list(codec.to_daemon([m.Inline(task, bytes(length)) for length in lengths]))
    assert [len(fact.inline.content) for batch in batches for fact in batch.facts] == lengths
    assert all(batch.ByteSize() <= codec.BATCH_BYTES_MAX + 16 * len(batch.facts) for batch in batches)


@given(st.binary(max_size=300))
def test_noise_gives_messages_or_an_error_that_blames_the_daemon(data: bytes) -> None:
    try:
        messages = codec.from_daemon(pb.DaemonBatch.FromString(data))
    except (WireError, DecodeError):
        return
    assert through_daemon_stream(messages) == messages


@given(st.one_of(*DAEMON.values()), st.data())
def test_a_flipped_byte_gives_messages_or_an_error(message: codec.FromDaemon, data: st.DataObject) -> None:
    wire = bytearray(next(codec.to_scheduler([message])).SerializeToString())
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        messages = codec.from_daemon(pb.DaemonBatch.FromString(bytes(wire)))
    except (WireError, DecodeError):
        return
    assert through_daemon_stream(messages) == messages


@given(st.binary(max_size=300))
def test_noise_gives_messages_or_an_error_that_blames_the_scheduler(data: bytes) -> None:
    try:
        messages = codec.from_scheduler(pb.SchedulerBatch.FromString(data))
    except (SchedulerError, DecodeError):
        return
    assert through_scheduler_stream(messages) == messages
