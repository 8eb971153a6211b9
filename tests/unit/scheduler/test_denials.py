import pytest

from scheduler import denials
from scheduler.commands import Command, DropInline, SaveDenials, Send
from scheduler.denials import Denials
from scheduler.events import DigestAllowed, DigestDenied, PurgeWanted
from swarm.ids import HostId, TaskId
from swarm.messages import NoSource, OriginFault, TaskInfo
from swarm.repositories import Denials as Message
from swarm.repositories import Purge
from tests.support.scheduler_playbook import BLOB, Playbook

OTHER = TaskId("sha256:" + "c" * 64)


def test_all_hosts_are_told_and_what_is_denied_is_kept() -> None:
    play = Playbook()
    play.attach("a", "b")
    play.event(DigestDenied(BLOB, "has a key in it"))
    assert [play.told(name, Message) for name in "ab"] == [[Message((BLOB,))]] * 2
    kept: list[Command] = [DropInline(BLOB), SaveDenials(((BLOB, "has a key in it"),), ())]
    assert [command for command in play.last if isinstance(command, DropInline | SaveDenials)] == kept
    (note,) = play.notes("digest_denied")
    assert dict(note.fields) == {"digest": BLOB, "reason": "has a key in it"}


def test_a_host_that_attaches_later_or_again_is_told_everything() -> None:
    play = Playbook()
    play.attach("a")
    play.event(DigestDenied(BLOB, ""))
    play.event(DigestDenied(OTHER, ""))
    play.event(DigestAllowed(OTHER))
    assert play.told("a", Message) == [Message((), (OTHER,))]
    play.lose("a")
    play.attach("a")
    assert play.told("a", Message) == [Message((BLOB,), (OTHER,))]


def test_nobody_is_given_parents_or_leases_for_it() -> None:
    play = Playbook()
    play.join("a", "b")
    play.completes("a")
    play.event(DigestDenied(BLOB, ""))
    play.join("c")
    assert play.told("c", NoSource) == [NoSource(BLOB, OriginFault.DENIED)]
    assert play.told("c", Message, play.last)[-1] == Message((BLOB,))
    assert play.parents("c") == []
    assert play.leases() == {}
    play.event(DigestAllowed(BLOB))
    play.join("c")
    assert play.told("c", TaskInfo)


def test_a_tiny_blob_is_held_no_more() -> None:
    play = Playbook()
    play.join("a", size=1000)
    play.brings_inline("a")
    play.join("b", size=1000)
    assert list(play.inlined()) == ["b"]
    for event in DigestDenied(BLOB, ""), DigestAllowed(BLOB):
        play.event(event)
    play.join("c", size=1000)
    assert list(play.inlined()) == []


def test_a_purge_reaches_all_and_denies_nothing() -> None:
    play = Playbook()
    play.attach("a", "b")
    play.event(PurgeWanted(Purge(BLOB)))
    assert [command for command in play.last if isinstance(command, Send)] == [
        Send(HostId(name), Purge(BLOB)) for name in "ab"
    ]
    play.join("c")
    assert play.told("c", TaskInfo)


def test_a_successor_goes_on_with_what_was_kept() -> None:
    play = Playbook()
    play.machine.denials.restore({BLOB: "why"}, (OTHER,))
    play.attach("a")
    assert play.told("a", Message) == [Message((BLOB,), (OTHER,))]


def test_none_is_forgotten_and_more_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "DENIED_MAX", 1)
    monkeypatch.setattr(denials, "ALLOWED_MAX", 1)
    play = Playbook()
    table: Denials = play.machine.denials
    play.event(DigestDenied(BLOB, ""))
    assert table.is_full()
    play.event(DigestDenied(OTHER, ""))
    assert list(table.denied) == [BLOB]
    assert play.notes("overload")
    play.event(DigestAllowed(OTHER))
    play.event(DigestAllowed(BLOB))
    play.attach("a")
    assert play.told("a", Message) == [Message((), (BLOB,))]
