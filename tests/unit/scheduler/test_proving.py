"""Some hosts hash a blob, the others hear of it: dialogues with the scheduler."""

import pytest

from scheduler.commands import SaveRoot
from scheduler.verification import VERIFIERS
from swarm.ids import HostId
from swarm.messages import ActiveTask, Leave, PieceRejected, TaskInfo
from swarm.pieces import MIB
from swarm.roots import NO_ROOT, BlobProved, Proven
from tests.support.scheduler_playbook import BLOB, LAYER, REGISTRY, Playbook

ROOT, OTHER = b"r" * 32, b"o" * 32
FIRST = [f"v{number}" for number in range(VERIFIERS)]
LATE = ["w0", "w1"]


def spared(play: Playbook, name: str) -> bool:
    """Whether a host that joined just now leaves the digest to others."""
    (info,) = play.told(name, TaskInfo)
    return info.is_spared


@pytest.fixture
def play() -> Playbook:
    """Five verifiers, and two hosts that wait for them."""
    play = Playbook()
    play.join(*FIRST, *LATE, shares_check=True)
    assert [spared(play, name) for name in FIRST + LATE] == [False] * VERIFIERS + [True] * 2
    return play


def prove(play: Playbook, *names: str, root: bytes = ROOT) -> None:
    for name in names:
        play.says(name, BlobProved(BLOB, root))


def test_all_who_wait_hear_of_a_proven_root_and_so_does_the_store(play: Playbook) -> None:
    prove(play, "v0", "v3")
    assert play.last == []
    prove(play, "v1")
    assert [play.told(name, Proven) for name in LATE] == [[Proven(BLOB, ROOT)]] * 2
    assert SaveRoot(BLOB, ROOT) in play.last
    assert len(play.notes("blob_proven")) == 1


def test_who_comes_later_hears_it_with_the_answer(play: Playbook) -> None:
    prove(play, "v0", "v1", "v2")
    play.join("late", shares_check=True)
    assert spared(play, "late")
    assert play.told("late", Proven) == [Proven(BLOB, ROOT)]


def test_hosts_that_hash_everything_themselves_hear_nothing_of_it(play: Playbook) -> None:
    play.join("own")
    assert not spared(play, "own")
    prove(play, "v0", "v1", "v2")
    assert play.told("own", Proven) == []
    assert HostId("own") not in play.machine.cluster.tasks[BLOB].verification.verifiers


def test_a_host_that_stores_nothing_is_no_verifier() -> None:
    play = Playbook()
    play.join("ring", stores=False, shares_check=True)
    assert not spared(play, "ring")
    assert play.machine.cluster.tasks[BLOB].verification.verifiers == {}


def test_two_hosts_hash_it_both() -> None:
    play = Playbook()
    play.join("a", "b", shares_check=True)
    assert [spared(play, name) for name in "ab"] == [False, False]
    prove(play, "a", "b")
    assert play.said[-1:] != [SaveRoot(BLOB, ROOT)]
    assert play.machine.cluster.tasks[BLOB].verification.root == NO_ROOT


def test_a_verifier_that_dies_before_it_told_is_replaced(play: Playbook) -> None:
    play.lose("v2")
    assert [play.told(name, Proven) for name in LATE] == [[Proven(BLOB, NO_ROOT)], []]
    prove(play, "v0", "v1", "w0")
    assert play.told("w1", Proven) == [Proven(BLOB, ROOT)]


def test_a_verifier_that_gives_up_is_replaced_by_one_of_its_zone() -> None:
    play = Playbook()
    play.attach("w1", zone="b")
    play.join(*FIRST[:4], shares_check=True)
    play.attach("v4", zone="b")
    play.join("v4", "w0", "w1", shares_check=True)
    play.says("v4", Leave(BLOB))
    assert play.told("w1", Proven) == [Proven(BLOB, NO_ROOT)]
    assert play.told("w0", Proven) == []


def test_one_that_told_and_died_is_not_replaced_and_its_word_counts(play: Playbook) -> None:
    prove(play, "v0", "v1")
    play.lose("v0")
    assert [play.told(name, Proven) for name in LATE] == [[], []]
    prove(play, "v2")
    assert play.told("w0", Proven) == [Proven(BLOB, ROOT)]


def test_different_roots_let_everybody_hash_it(play: Playbook) -> None:
    prove(play, "v0", "v1", "v2")
    prove(play, "v3", root=OTHER)
    assert [play.told(name, Proven) for name in LATE] == [[Proven(BLOB, NO_ROOT)]] * 2
    assert SaveRoot(BLOB, NO_ROOT) in play.last
    assert len(play.notes("root_conflict")) == 1
    play.join("late", shares_check=True)
    assert not spared(play, "late")
    assert play.told("late", Proven) == []


def quarantine(play: Playbook, liar: str) -> None:
    for reporter in LATE:
        play.says(reporter, PieceRejected(BLOB, 0, HostId(liar), b"x" * 32, b"y" * 32))
    assert play.notes("quarantine")


def test_the_word_of_a_host_in_quarantine_counts_for_nothing(play: Playbook) -> None:
    prove(play, "v0", "v1")
    quarantine(play, "v0")
    assert [play.told(name, Proven) for name in LATE] == [[Proven(BLOB, NO_ROOT)], []], "one more is needed"
    prove(play, "v0", "v2")
    assert play.told("w1", Proven) == []
    prove(play, "w0")
    assert play.told("w1", Proven) == [Proven(BLOB, ROOT)]


def test_a_proof_that_needs_a_host_in_quarantine_is_taken_back(play: Playbook) -> None:
    prove(play, "v0", "v1", "v2")
    quarantine(play, "v1")
    told = [Proven(BLOB, NO_ROOT)]
    assert play.told("w1", Proven) == told
    assert SaveRoot(BLOB, NO_ROOT) in play.last
    prove(play, "v3")
    assert play.told("w1", Proven) == [Proven(BLOB, ROOT)]


def test_a_forgotten_task_is_still_proven_when_it_comes_back(play: Playbook) -> None:
    prove(play, "v0", "v1", "v2")
    for name in FIRST + LATE:
        play.says(name, Leave(BLOB))
    assert BLOB not in play.machine.cluster.tasks
    play.join("late", shares_check=True)
    assert play.told("late", Proven) == [Proven(BLOB, ROOT)]


def test_after_a_restart_downloads_that_run_prove_it_again() -> None:
    play = Playbook()
    active = ActiveTask(BLOB, LAYER, REGISTRY, 0, may_fetch=True, shares_check=True)
    for name in FIRST + LATE:
        play.attach(name, active=(active,))
    prove(play, *FIRST[:3])
    assert play.told("w0", Proven) == [Proven(BLOB, ROOT)]


def test_a_blob_of_another_size_must_be_proven_anew(play: Playbook) -> None:
    prove(play, "v0", "v1", "v2")
    play.machine.cluster.tasks[BLOB].resize(8 * MIB)
    assert play.machine.cluster.tasks[BLOB].verification.root == NO_ROOT
