"""Who hashes a blob for all, and when their words are enough."""

from scheduler.verification import (
    SILENT_S,
    VERIFIERS,
    VERIFIERS_MAX,
    VOTES_NEEDED,
    Verification,
)
from swarm.ids import HostId
from swarm.roots import NO_ROOT

ROOT, OTHER = b"right", b"wrong"


def verification(*zones: str) -> Verification:
    """One with a verifier in each of these zones: hosts 0, 1, 2, ..."""
    known = Verification()
    for number, zone in enumerate(zones):
        assert known.designate(HostId(str(number)), zone, 0.0)
    return known


def vote(known: Verification, *numbers: int, root: bytes = ROOT) -> list[bool]:
    changed = []
    for number in numbers:
        changed.append(known.vote(HostId(str(number)), root))
        known.validate()
    return changed


def test_the_first_hosts_are_verifiers_and_stay_it() -> None:
    known = verification(*[""] * VERIFIERS)
    assert not known.designate(HostId("late"), "", 1.0)
    assert known.designate(HostId("0"), "", 1.0)


def test_the_first_host_of_another_zone_is_one_too_up_to_three_zones() -> None:
    known = verification(*["a"] * VERIFIERS)
    assert known.designate(HostId("b1"), "b", 1.0)
    assert not known.designate(HostId("b2"), "b", 1.0)
    assert known.designate(HostId("c1"), "c", 1.0)
    assert not known.designate(HostId("d1"), "d", 1.0)


def test_who_was_silent_for_long_keeps_no_other_from_being_one_up_to_a_bound() -> None:
    known = verification(*[""] * VERIFIERS)
    made = [known.designate(HostId(f"late-{number}"), "", SILENT_S * (1 + number)) for number in range(40)]
    assert made[0]
    assert sum(made) == VERIFIERS_MAX - VERIFIERS
    known.validate()


def test_a_root_is_proven_when_enough_told_it() -> None:
    known = verification(*[""] * 5)
    assert vote(known, 4, 0, 2, 3) == [False, False, True, False]
    assert known.root == ROOT


def test_one_host_proves_nothing_however_often_it_tells() -> None:
    known = verification(*[""] * 5)
    assert vote(known, *[1] * VOTES_NEEDED) == [False] * VOTES_NEEDED
    assert known.root == NO_ROOT


def test_who_is_no_verifier_proves_nothing() -> None:
    known = verification("", "")
    assert vote(known, 0, 1, 2, 3) == [False] * 4
    assert known.root == NO_ROOT


def test_votes_must_come_from_as_many_zones_as_there_are() -> None:
    known = verification("a", "a", "a", "b", "b")
    assert vote(known, 0, 1, 2, 3) == [False, False, False, True]
    assert vote(verification("a", "a", "b", "c", "c"), 0, 2, 1, 4) == [False, False, False, True]


def test_a_zone_without_a_verifier_is_not_waited_for() -> None:
    known = verification("a", "a", "a", "b")
    vote(known, 0, 1, 2)
    assert known.leave(HostId("3"))
    assert known.root == ROOT


def test_one_word_against_a_root_disputes_it_for_good() -> None:
    known = verification(*[""] * 5)
    vote(known, 0, 1, 2)
    assert vote(known, 3, root=OTHER) == [True]
    assert known.is_disputed
    assert known.root == NO_ROOT
    assert vote(known, 4) == [False]
    assert known.root == NO_ROOT


def test_a_dispute_ends_when_the_word_of_the_liar_counts_no_more() -> None:
    known = verification(*[""] * 5)
    vote(known, 0, 1, 2)
    vote(known, 3, root=OTHER)
    assert known.discredit(HostId("3"))
    assert (known.root, known.is_disputed) == (ROOT, False)


def test_a_proof_ends_with_the_credit_of_a_host_that_it_needs() -> None:
    known = verification(*[""] * 5)
    vote(known, 0, 1, 2)
    assert known.discredit(HostId("1"))
    assert known.root == NO_ROOT
    assert vote(known, 3) == [True]


def test_who_leaves_before_it_told_is_no_verifier_any_more_and_who_told_stays() -> None:
    known = verification(*[""] * 5)
    vote(known, 0, 1)
    assert [known.leave(HostId(name)) for name in ("0", "4", "stranger")] == [False, True, False]
    assert vote(known, 2) == [True]
