"""The codec for any frame and for any bytes: round trips, cuts anywhere, only WireError, bounded memory."""

from contextlib import suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import WireError
from swarm.frames import (
    BITMAP_BYTES_MAX,
    DIGEST_BYTES,
    AbsentFrame,
    AvailabilityFrame,
    BusyFrame,
    Frame,
    GoneFrame,
    HaveFrame,
    HelloFrame,
    OpenFrame,
    PieceFrame,
    PingFrame,
    PongFrame,
    ProofFrame,
    Purpose,
    ReadyFrame,
    RefusedFrame,
    RequestFrame,
    SubscribeFrame,
    UnsubscribeFrame,
    WelcomeFrame,
)
from swarm.ids import Epoch, HostId, TaskId
from swarm.messages import PieceRecord
from swarm.pieces import BLOB_BYTES_MAX, MIB, PIECE_BYTES_MAX, PieceMap
from swarm.wire import HEADER, HEADER_BYTES, MAGIC, Decoder, encode

ANY_FRAME = frozenset(Frame.__args__)
FRAME_BYTES_MAX = HEADER_BYTES + 65 + 8 + BITMAP_BYTES_MAX
NUMBERS = [*range(7), *range(15, 25), *range(31, 37), 255]

nonces = st.binary(min_size=32, max_size=32)
hosts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(str.isprintable).map(HostId)
u32 = st.integers(0, 2**32 - 1)
indexes = st.integers(0, PieceMap.of(BLOB_BYTES_MAX).count - 1)
tasks = st.one_of(
    nonces.map(lambda raw: TaskId(f"sha256:{raw.hex()}")),
    st.binary(min_size=64, max_size=64).map(lambda raw: TaskId(f"sha512:{raw.hex()}")),
)


def records(width: int) -> st.SearchStrategy[PieceRecord]:
    epochs = st.integers(0, 2**64 - 1).map(Epoch)
    return st.builds(PieceRecord, indexes, st.binary(min_size=width, max_size=width), epochs)


@st.composite
def availabilities(draw: st.DrawFn) -> AvailabilityFrame:
    size = draw(st.one_of(st.integers(0, 64 * MIB), st.integers(0, BLOB_BYTES_MAX)))
    bits = draw(st.integers(0, (1 << min(64, PieceMap.of(size).count)) - 1))
    return AvailabilityFrame(draw(tasks), size, bits)


any_record = st.sampled_from(DIGEST_BYTES).flatmap(records)
haves = st.sampled_from(DIGEST_BYTES).flatmap(
    lambda width: st.lists(records(width), min_size=1, max_size=20).map(tuple)
)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(9, 65535)).flatmap(
        lambda span: st.builds(
            HelloFrame,
            st.just(span[0]),
            st.just(span[1]),
            st.sampled_from(Purpose),
            hosts,
            nonces,
            st.one_of(st.just(""), hosts),
        )
    ),
    st.builds(WelcomeFrame, st.integers(0, 65535), hosts, nonces, nonces),
    st.builds(ProofFrame, nonces),
    st.builds(RefusedFrame, st.integers(0, 255), st.text(st.characters(codec="utf-8"), max_size=120)),
    st.builds(OpenFrame, hosts, st.integers(0, 2**64 - 1), nonces),
    st.builds(SubscribeFrame, tasks),
    st.builds(UnsubscribeFrame, tasks),
    availabilities(),
    st.builds(HaveFrame, tasks, haves),
    st.builds(GoneFrame, tasks),
    st.sampled_from([ReadyFrame(), PingFrame(), PongFrame()]),
    st.builds(RequestFrame, u32, tasks, indexes),
    st.builds(PieceFrame, u32, st.integers(1, PIECE_BYTES_MAX), any_record),
    st.builds(BusyFrame, u32),
    st.builds(AbsentFrame, u32),
)
headers = st.builds(
    HEADER.pack, st.just(MAGIC), st.sampled_from(NUMBERS), st.sampled_from([0, 0, 0, 1]), st.integers(0, 300)
)
noise = st.lists(st.one_of(st.binary(max_size=80), headers, frames.map(encode)), max_size=8).map(b"".join)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


cuts = st.lists(st.integers(0, 2**16), max_size=12)


@given(st.lists(frames, max_size=5), cuts)
def test_frames_survive_the_wire_however_it_is_cut(sent: list[Frame], at: list[int]) -> None:
    decoder = Decoder(ANY_FRAME)
    parts = pieces_of(b"".join(encode(frame) for frame in sent), at)
    assert [frame for part in parts for frame in decoder.feed(part)] == sent
    assert decoder.pending_bytes == 0


@given(noise, cuts)
def test_any_bytes_give_frames_or_a_wire_error_and_little_is_kept(data: bytes, at: list[int]) -> None:
    decoder = Decoder(ANY_FRAME)
    with suppress(WireError):
        for part in pieces_of(data, at):
            decoder.feed(part)
            assert decoder.pending_bytes < FRAME_BYTES_MAX
            assert 0 < decoder.wanted_bytes <= FRAME_BYTES_MAX


@given(frames, st.integers(0, 2**16), st.integers(1, 255))
def test_a_damaged_frame_gives_frames_or_a_wire_error(frame: Frame, at: int, change: int) -> None:
    data = bytearray(encode(frame))
    data[at % len(data)] ^= change
    with suppress(WireError):
        received = Decoder(ANY_FRAME).feed(data)
        assert len(received) <= 1


@given(noise)
def test_what_is_read_is_written_the_same_way(data: bytes) -> None:
    """Every value has one form on the wire; only greetings may carry more than we know."""
    try:
        received = Decoder(ANY_FRAME).feed(data)
    except WireError:
        return
    for frame in received:
        assert Decoder(ANY_FRAME).feed(encode(frame)) == [frame]


@given(noise, cuts)
def test_where_a_stream_is_cut_changes_nothing(data: bytes, at: list[int]) -> None:
    def read(parts: list[bytes]) -> tuple[list[Frame], str]:
        decoder, received = Decoder(ANY_FRAME), list[Frame]()
        try:
            for part in parts:
                received += decoder.feed(part)
        except WireError as error:
            return received, str(error)
        return received, ""

    bytewise = read([data[at : at + 1] for at in range(len(data))])
    cut = read(pieces_of(data, at))
    assert cut[1] == bytewise[1]
    assert cut[0] == bytewise[0][: len(cut[0])]
