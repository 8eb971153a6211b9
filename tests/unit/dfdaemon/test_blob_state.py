import pytest

from dfdaemon import events
from dfdaemon.blob_state import ASK_S, BlobState
from dfdaemon.commands import CommitPiece, TellScheduler
from dfdaemon.piece_table import Stage
from swarm.ids import HostId, ReaderId
from swarm.layers import Layer
from swarm.messages import Join, PieceRejected, TaskProgress
from tests.support.daemon_playbook import PIECE, REGISTRY, TASK, Playbook, record


@pytest.fixture
def blob() -> BlobState:
    playbook = Playbook().attached()
    playbook >> events.BlobWanted(TASK, 3 * PIECE, REGISTRY, True)
    blob = playbook.machine.downloads[TASK].blob
    blob.means.out.clear()
    return blob


def hold(blob: BlobState, index: int, source: HostId | None) -> None:
    blob.table.move(1 << index, Stage.MISSING, Stage.REQUESTED)
    blob.write(record(index), Stage.REQUESTED, source)
    blob.table.move(1 << index, Stage.WRITTEN, Stage.VERIFIED)
    blob.gained(record(index))


def test_a_piece_is_recorded_before_anything_else(blob: BlobState) -> None:
    blob.table.move(0b1, Stage.MISSING, Stage.REQUESTED)
    blob.write(record(0), Stage.REQUESTED, HostId("a"))
    assert blob.means.out == [CommitPiece(TASK, record(0), source=HostId("a"))]
    assert blob.progress() == TaskProgress(TASK, 0)


def test_records_are_told_once_and_only_of_what_we_fetched(blob: BlobState) -> None:
    hold(blob, 0, None)
    hold(blob, 1, HostId("a"))
    assert blob.progress() == TaskProgress(TASK, 0b11, (record(0),))
    assert blob.progress() == TaskProgress(TASK, 0b11)


def test_a_scheduler_that_knows_nothing_hears_them_again(blob: BlobState) -> None:
    hold(blob, 0, None)
    blob.progress()
    blob.tell_again()
    assert blob.progress() == TaskProgress(TASK, 0b1, (record(0),))


def test_a_scheduler_that_knows_nothing_hears_again_whom_we_reject(blob: BlobState) -> None:
    rejected = PieceRejected(TASK, 1, HostId("liar"), b"claimed", b"given")
    blob.reject(rejected)
    blob.means.out.clear()
    blob.tell_again()
    assert blob.means.out == [TellScheduler(rejected)]


def test_nothing_is_wanted_by_a_download_that_ends(blob: BlobState) -> None:
    assert blob.wanted() == 0b111
    blob.closing = True
    assert blob.wanted() == 0


def test_a_dropped_piece_is_missing_and_wakes_the_download(blob: BlobState) -> None:
    hold(blob, 0, None)
    blob.means.ripe.clear()
    blob.drop(0, Stage.VERIFIED)
    blob.validate()
    assert blob.table.missing == 0b111
    assert TASK in blob.means.ripe


def test_of_a_part_only_what_is_read_is_wanted_and_no_lease_is_asked_for() -> None:
    playbook = Playbook().attached()
    playbook >> events.BlobWanted(TASK, 40 * PIECE, REGISTRY, True, part=True)
    blob = playbook.machine.downloads[TASK].blob
    blob.readers.open(ReaderId(1), 5 * PIECE, 6 * PIECE, 0.0)
    assert blob.wanted() == 1 << 5
    blob.means.out.clear()
    blob.join()
    (told,) = blob.means.out
    assert isinstance(told, TellScheduler)
    assert told.message == Join(TASK, 40 * PIECE, REGISTRY, False)
    assert not blob.active_task(()).may_fetch


def test_one_that_wants_all_of_it_makes_a_part_the_whole() -> None:
    playbook = Playbook().attached()
    playbook >> events.BlobWanted(TASK, 40 * PIECE, REGISTRY, True, part=True)
    blob = playbook.machine.downloads[TASK].blob
    assert not blob.want(events.BlobWanted(TASK, 40 * PIECE, REGISTRY, True, part=True))
    assert blob.want(events.BlobWanted(TASK, 40 * PIECE, REGISTRY, True))
    assert blob.wanted() == (1 << 40) - 1
    assert not blob.want(events.BlobWanted(TASK, 40 * PIECE, REGISTRY, True, part=True)), "and it stays so"
    assert blob.wanted() == (1 << 40) - 1


def test_who_may_have_been_deceived_is_told_again_too_but_was_not_caught_lying(blob: BlobState) -> None:
    rejected = PieceRejected(TASK, 1, HostId("relay"), b"right", b"given", fits=True)
    blob.reject(rejected)
    assert not blob.has_rejected(HostId("relay"))
    blob.means.out.clear()
    blob.tell_again()
    assert blob.means.out == [TellScheduler(rejected)]


def test_the_scheduler_is_asked_for_records_ever_more_rarely(blob: BlobState) -> None:
    asked = []
    for tenth in range(100):
        now = blob.began_at + tenth / 10
        blob.ask_for_records(now)
        asked += [now - blob.began_at] * len(blob.means.out)
        blob.means.out.clear()
    assert asked == pytest.approx([0.0, ASK_S, 3 * ASK_S, 7 * ASK_S])


def test_without_a_scheduler_nobody_is_asked_for_records(blob: BlobState) -> None:
    blob.means.session.lose(0.0)
    blob.ask_for_records(1000.0)
    assert blob.means.out == []


def test_parts_are_not_unpacked_in_order() -> None:
    layer, playbook = Layer("image", 3), Playbook().attached()
    playbook >> events.BlobWanted(TASK, 40 * PIECE, REGISTRY, True, part=True)
    playbook.skip()
    blob = playbook.machine.downloads[TASK].blob
    blob.want(events.BlobWanted(TASK, 40 * PIECE, REGISTRY, True, part=True, layer=layer))
    assert (blob.layer, blob.turn) == (layer, None)
    blob.want(events.BlobWanted(TASK, 40 * PIECE, REGISTRY, True))
    assert blob.turn == layer
