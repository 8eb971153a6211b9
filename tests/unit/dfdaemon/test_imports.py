"""What is taken from other zones: what the scheduler says, and more only where it does not see to it."""

import pytest

from dfdaemon import events
from dfdaemon.commands import RequestPiece, Subscribe, TellScheduler
from dfdaemon.imports import ALONE_JITTER_S, ALONE_S, ATTACHED_JITTER_S, ATTACHED_S
from dfdaemon.session import PIECE_S_MAX
from dfdaemon.shares import is_ours
from swarm.ids import HostId
from swarm.messages import Imports, Parent, Parents, Progress, Settings
from tests.support.daemon_playbook import HERE, TASK, Playbook, bits_of

NEAR, FAR = HostId("near"), HostId("far")
PIECES = 4


@pytest.fixture
def playbook() -> Playbook:
    """A download in zone `z`, whose scheduler leases imports."""
    playbook = Playbook(zone="z").attached()
    playbook.said(Settings(leases_imports=True))
    return playbook.joined(PIECES)


def meet(playbook: Playbook, near: str = "0000", far: str = "1111") -> Playbook:
    """One parent of the own zone and one of another hold what the pictures show."""
    parents = (Parent(NEAR, (), "z"), Parent(FAR, (), "y"))
    playbook.said(Parents(TASK, parents))
    for parent in parents:
        playbook << Subscribe(parent, TASK)
    playbook >> events.ParentAvailable(NEAR, TASK, bits_of(near))
    playbook.waiting = playbook.skip()
    return playbook >> events.ParentAvailable(FAR, TASK, bits_of(far))


def asked(playbook: Playbook) -> set[tuple[str, int]]:
    """The (parent, piece) asked for just now."""
    return {(c.parent, c.index) for c in playbook.skip() if isinstance(c, RequestPiece)}


def pass_time(playbook: Playbook, seconds: float) -> set[tuple[str, int]]:
    """Let time pass; return what was asked for meanwhile."""
    end, found = playbook.now + seconds, set()
    while playbook.machine.wakeup_at() <= end:
        playbook.time()
        found |= asked(playbook)
    playbook.now = end
    return found


def test_another_zone_is_asked_for_nothing_that_was_not_leased(playbook: Playbook) -> None:
    assert asked(meet(playbook)) == set()


def test_what_is_leased_is_asked_of_another_zone(playbook: Playbook) -> None:
    meet(playbook)
    assert asked(playbook.said(Imports(TASK, 0b0100))) == {(FAR, 2)}


def test_a_new_lease_takes_the_place_of_the_one_before(playbook: Playbook) -> None:
    playbook.said(Imports(TASK, 0b0001)).said(Imports(TASK, 0b0010))
    assert asked(meet(playbook)) == {(FAR, 1)}


def test_what_the_own_zone_has_is_taken_there_even_if_it_is_leased(playbook: Playbook) -> None:
    playbook.said(Imports(TASK, 0b0001))
    meet(playbook, near="1000")
    assert [(c.parent, c.index) for c in playbook.waiting if isinstance(c, RequestPiece)] == [(NEAR, 0)]
    assert asked(playbook) == set()


def test_the_scheduler_hears_at_once_when_all_that_was_leased_is_asked_for(playbook: Playbook) -> None:
    playbook.said(Imports(TASK, 0b0011))
    meet(playbook) << RequestPiece(FAR, TASK, 0, False)
    playbook.machine.session.changed(playbook.machine.downloads[TASK].blob)
    playbook.arrives(FAR, 0)
    told = [c.message for c in playbook.skip() if isinstance(c, TellScheduler)]
    assert any(isinstance(message, Progress) for message in told)


def test_a_scheduler_that_leases_no_imports_limits_nothing() -> None:
    playbook = Playbook(zone="z").attached().joined(PIECES)
    assert {parent for parent, _ in asked(meet(playbook))} == {FAR}


def test_a_reader_of_a_part_takes_it_from_anybody() -> None:
    playbook = Playbook(zone="z").attached()
    playbook.said(Settings(leases_imports=True))
    playbook.joined(PIECES)
    playbook.machine.downloads[TASK].blob.is_part = True
    assert {parent for parent, _ in asked(meet(playbook))} == {FAR}


def test_where_nothing_moves_for_long_other_zones_are_asked_for_all(playbook: Playbook) -> None:
    meet(playbook)
    playbook.skip()
    assert pass_time(playbook, ATTACHED_S - 0.1) == set()
    assert {parent for parent, _ in pass_time(playbook, ATTACHED_JITTER_S + PIECE_S_MAX)} == {FAR}


def test_without_a_scheduler_each_host_imports_its_share(playbook: Playbook) -> None:
    meet(playbook)
    playbook.skip()
    playbook >> events.SchedulerLost("gone")
    playbook.skip()
    ours = {(FAR, index) for index in range(PIECES) if is_ours(index, HERE, [NEAR])}
    assert ours, "the names are such that something is ours"
    assert len(ours) < PIECES, "and something is not"
    found = pass_time(playbook, 0.6)
    assert found
    assert found <= ours


def test_and_all_of_it_when_the_others_do_not_bring_theirs(playbook: Playbook) -> None:
    meet(playbook)
    playbook.skip()
    playbook >> events.SchedulerLost("gone")
    todo, taken = asked(playbook), set()
    while playbook.now < 100.0 + 2 * (ALONE_S + ALONE_JITTER_S):
        todo |= pass_time(playbook, 0.2)
        for parent, index in sorted(todo):
            todo = asked(playbook.arrives(parent, index))
            todo |= asked(playbook >> events.PieceCommitted(TASK, index))
            taken.add(index)
    assert taken == set(range(PIECES))


def test_a_second_copy_does_not_cross(playbook: Playbook) -> None:
    playbook.said(Imports(TASK, 0b1111))
    meet(playbook, near="1000")
    playbook.skip()
    pass_time(playbook, 0.9)
    assert not playbook.machine.downloads[TASK].peers.transfers.hedges
