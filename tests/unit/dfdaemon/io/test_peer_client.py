"""The child's side against parents that misbehave, each in its own way."""

import socket
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from dfdaemon.events import (
    ParentAvailable,
    ParentBusy,
    ParentGone,
    ParentLost,
    PeerFault,
    PieceArrived,
    PieceFailed,
)
from dfdaemon.io import parent_link, peer_connection
from dfdaemon.io import piece_connection as data
from dfdaemon.io.peer_connection import ControlConnection
from swarm.availability import full
from swarm.frames import HaveFrame, PongFrame
from swarm.ids import Epoch, HostId
from swarm.messages import Address, Parent, PieceRecord
from swarm.pieces import MIB
from swarm.wire import encode
from tests.support.faulty_peer import FAULTY, Fault, FaultyPeer
from tests.support.peers import Blob, Inbox, read_piece, taking

BLOB = Blob(1 * MIB + 5)
ROOT = Path(__file__).parents[4]


async def ask(fault: Fault, got: Inbox) -> FaultyPeer:
    """Subscribe to a parent with a fault, and ask it for piece 1; return it, closed, when the answer is there."""
    peer, target = FaultyPeer(fault, BLOB.content, token=b"t"), BLOB.empty_file()
    at = await peer.start()
    async with taking(got, host=HostId("child"), token=b"t") as client:
        client.subscribe(Parent(FAULTY, (at,)), BLOB.task, BLOB.pieces.size)
        if fault not in (Fault.GARBAGE, Fault.VERSION):
            await got.wait_for(lambda event: isinstance(event, ParentAvailable))
        client.request(FAULTY, BLOB.task, 1, target, False)
        await got.wait_for(lambda event: isinstance(event, PieceArrived | PieceFailed | ParentBusy))
        if fault is Fault.NONE:
            assert read_piece(target, 1) == BLOB.piece(1)
    await peer.close()
    assert target.references == 1
    return peer


async def test_an_honest_peer_serves() -> None:
    got = Inbox()
    peer = await ask(Fault.NONE, got)
    assert await got.next(ParentAvailable) == ParentAvailable(FAULTY, BLOB.task, full(BLOB.pieces.count))
    arrived = await got.next(PieceArrived)
    assert arrived.actual == arrived.claimed.digest == BLOB.records[1].digest
    assert peer.requests == 1


@pytest.mark.parametrize(("fault", "honest"), [(Fault.CORRUPT, True), (Fault.LIE, False)])
async def test_wrong_bytes_come_with_the_digest_that_they_have(fault: Fault, honest: bool) -> None:
    got = Inbox()
    await ask(fault, got)
    await got.next(ParentAvailable)
    arrived = await got.next(PieceArrived)
    assert arrived.actual != BLOB.records[1].digest
    assert (arrived.claimed.digest == BLOB.records[1].digest) is honest
    assert (arrived.claimed.digest == arrived.actual) is not honest


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault.SILENT, PeerFault.TIMEOUT),
        (Fault.STALL, PeerFault.TIMEOUT),
        (Fault.RESET, PeerFault.CLOSED),
        (Fault.LONG, PeerFault.PROTOCOL),
        (Fault.OTHER, PeerFault.PROTOCOL),
        (Fault.ABSENT, PeerFault.GONE),
    ],
)
async def test_a_fault_of_one_piece_ends_one_request(
    fault: Fault, answer: PeerFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "REPLY_S", 0.2)
    monkeypatch.setattr(data, "SILENCE_S", 0.2)
    got = Inbox()
    await ask(fault, got)
    await got.next(ParentAvailable)
    assert await got.next(PieceFailed) == PieceFailed(FAULTY, BLOB.task, 1, answer)
    assert await got.next(ParentLost) == ParentLost(FAULTY, PeerFault.CANCELLED), "we left, not it"


async def test_who_lets_a_request_wait_and_answers_no_ping_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "REPLY_S", 0.1)
    monkeypatch.setattr(peer_connection, "PONG_S", 0.05)
    send = ControlConnection.send
    monkeypatch.setattr(
        ControlConnection,
        "send",
        lambda self, frame: None if isinstance(frame, PongFrame) else send(self, frame),
    )
    got, peer = Inbox(), FaultyPeer(Fault.SILENT, BLOB.content)
    at = await peer.start()
    async with taking(got, token=b"") as client:
        client.subscribe(Parent(FAULTY, (at,)), BLOB.task, BLOB.pieces.size)
        await got.next(ParentAvailable)
        client.request(FAULTY, BLOB.task, 1, BLOB.empty_file(), False)
        assert (await got.next(PieceFailed)).fault is PeerFault.TIMEOUT
        assert await got.next(ParentLost) == ParentLost(FAULTY, PeerFault.TIMEOUT)
    await peer.close()


async def test_a_busy_parent() -> None:
    got = Inbox()
    await ask(Fault.BUSY, got)
    await got.next(ParentAvailable)
    assert await got.next(ParentBusy) == ParentBusy(FAULTY, BLOB.task, 1)


@pytest.mark.parametrize("fault", [Fault.GARBAGE, Fault.VERSION])
async def test_a_parent_that_breaks_the_protocol_is_lost(fault: Fault) -> None:
    got = Inbox()
    await ask(fault, got)
    assert (await got.next(PieceFailed)).fault is PeerFault.PROTOCOL
    assert await got.next(ParentLost) == ParentLost(FAULTY, PeerFault.PROTOCOL)
    assert [note.name for note in got.notes] == ["parent_lost"]


async def test_a_parent_with_another_size_is_gone_for_this_task() -> None:
    got, peer = Inbox(), FaultyPeer(Fault.SIZE, BLOB.content)
    at = await peer.start()
    async with taking(got, token=b"") as client:
        client.subscribe(Parent(FAULTY, (at,)), BLOB.task, BLOB.pieces.size)
        assert await got.next(ParentGone) == ParentGone(FAULTY, BLOB.task)
    await peer.close()


async def test_pieces_beyond_the_last_are_a_breach() -> None:
    got, peer = Inbox(), FaultyPeer(Fault.NONE, BLOB.content)
    at = await peer.start()
    async with taking(got, token=b"") as client:
        client.subscribe(Parent(FAULTY, (at,)), BLOB.task, BLOB.pieces.size)
        await got.next(ParentAvailable)
        beyond = PieceRecord(BLOB.pieces.count, bytes(16), Epoch(1))
        peer.say(HostId("child"), encode(HaveFrame(BLOB.task, (beyond,))))
        assert await got.next(ParentLost) == ParentLost(FAULTY, PeerFault.PROTOCOL)
    await peer.close()


async def test_a_parent_of_no_task_is_left_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent_link, "IDLE_S_MAX", 0.01)
    got, peer = Inbox(), FaultyPeer(Fault.NONE, BLOB.content)
    at = await peer.start()
    async with taking(got, token=b"") as client:
        client.subscribe(Parent(FAULTY, (at,)), BLOB.task, BLOB.pieces.size)
        await got.next(ParentAvailable)
        client.unsubscribe(FAULTY, BLOB.task)
        await peer.left()
        assert got.unread == []
        client.subscribe(Parent(FAULTY, (at,)), BLOB.task, BLOB.pieces.size)
        await got.next(ParentAvailable)
    await peer.close()


async def test_the_same_process_stands_alone(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(BLOB.content)
    command = [sys.executable, "-m", "tests.support.faulty_peer", "corrupt", str(blob), "--host", "faulty"]
    got = Inbox()
    with Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        said, _, port = process.stdout.readline().strip().rpartition(":")
        assert said == "listening 127.0.0.1"
        async with taking(got, token=b"") as client:
            parent = Parent(FAULTY, (Address("127.0.0.1", int(port)),))
            client.subscribe(parent, BLOB.task, BLOB.pieces.size)
            await got.next(ParentAvailable)
            client.request(FAULTY, BLOB.task, 0, BLOB.empty_file(), False)
            arrived = await got.next(PieceArrived)
            assert arrived.actual != arrived.claimed.digest
        process.communicate()
        assert process.returncode == 0


async def test_a_connection_that_never_speaks_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfdaemon.io.peer_handshake.HANDSHAKE_S", 0.05)
    got = Inbox()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with taking(got) as client:
            nobody = Parent(FAULTY, (Address(*mute.getsockname()),))
            client.subscribe(nobody, BLOB.task, BLOB.pieces.size)
            assert await got.next(ParentLost) == ParentLost(FAULTY, PeerFault.UNREACHABLE)
