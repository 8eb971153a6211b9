from math import inf

from scheduler.agenda import Agenda


def test_the_earliest_time_asked_for_counts() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.wake("a", 5.0)
    agenda.wake("a", 9.0)
    agenda.wake("a", 3.0)
    agenda.wake("b", 4.0)
    assert agenda.next_at() == 3.0
    assert list(agenda.due(4.5)) == ["a", "b"]
    assert agenda.next_at() == inf


def test_a_key_is_due_once_and_may_ask_again() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.wake("a", 1.0)
    assert list(agenda.due(2.0)) == ["a"]
    assert list(agenda.due(2.0)) == []
    agenda.wake("a", 7.0)
    assert agenda.next_at() == 7.0


def test_a_forgotten_key_is_never_due() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.wake("a", 1.0)
    agenda.forget("a")
    assert agenda.next_at() == inf
    assert len(agenda) == 0
