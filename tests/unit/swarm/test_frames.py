"""Frames and their limits."""

from swarm import piece_digest
from swarm.frames import DIGEST_BYTES, RECORDS_MAX, HaveFrame, have_frames
from swarm.ids import Epoch, TaskId
from swarm.messages import PieceRecord

TASK = TaskId("sha256:" + "00" * 32)


def records(count: int, width: int = 16) -> tuple[PieceRecord, ...]:
    return tuple(PieceRecord(index, bytes(width), Epoch(1)) for index in range(count))


def test_the_wire_carries_every_piece_digest_there_is() -> None:
    assert set(DIGEST_BYTES) == set(piece_digest.DIGEST_BYTES.values())


def test_no_records_need_no_frame() -> None:
    assert have_frames(TASK, ()) == []


def test_many_records_are_split() -> None:
    sent = have_frames(TASK, records(2 * RECORDS_MAX + 1))
    assert [len(frame.records) for frame in sent] == [RECORDS_MAX, RECORDS_MAX, 1]
    assert tuple(record for frame in sent for record in frame.records) == records(2 * RECORDS_MAX + 1)


def test_digests_of_two_kinds_go_in_two_frames() -> None:
    short, long = records(2), records(1, width=32)
    assert have_frames(TASK, long + short) == [HaveFrame(TASK, short), HaveFrame(TASK, long)]
