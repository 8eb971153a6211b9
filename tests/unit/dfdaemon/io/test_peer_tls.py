"""Which hosts may speak to each other, by peer.tls and by their certificates, and what is said when they may not."""

import itertools
import os
import shutil
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dfdaemon.config import PeerConfig
from dfdaemon.events import ParentAvailable, ParentLost, PeerFault, PieceArrived
from dfdaemon.io import peer_tls
from dfdaemon.io.peer_tls import PeerTls
from dfdaemon.patience import Patience
from swarm.availability import full
from swarm.errors import ConfigError, PeerUnreachable
from swarm.facts import Note
from swarm.messages import Parent
from tests.support.peers import CHILD, PARENT, Blob, Inbox, serving, taking, tls_settings

BLOB = Blob(100_000)
CAN = {
    ("off", "off"), ("off", "accept"), ("off", "prefer"),
    ("accept", "off"), ("accept", "accept"), ("accept", "prefer"),
    ("prefer", "accept"), ("prefer", "prefer"), ("prefer", "require"),
    ("require", "accept"), ("require", "prefer"), ("require", "require"),
}  # fmt: skip
"""Child and parent that understand each other: neighbours in the order of a roll-out always do, both ways."""


async def meet(child: dict[str, Any], parent: dict[str, Any]) -> tuple[list[object], str]:
    """Let a child follow a parent; return what it heard, and the reasons that both sides noted."""
    served, got = Inbox(), Inbox()
    async with serving(served, secured=parent) as (server, at), taking(got, secured=child) as client:
        served.react = lambda event: server.send_availability(CHILD, BLOB.task, BLOB.pieces.size, 1)
        client.subscribe(Parent(PARENT, (at,)), BLOB.task, BLOB.pieces.size)
        await got.wait_for(lambda event: isinstance(event, ParentAvailable | ParentLost))
    notes = [*served.notes, *got.notes]
    return list(got.events), " | ".join(str(value) for note in notes for _, value in note.fields)


def modes(directory: Path, child: str, parent: str) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = tls_settings(directory)
    return settings | {"tls": child}, settings | {"tls": parent}


def test_neighbours_of_a_roll_out_understand_each_other() -> None:
    steps = ["off", "accept", "prefer", "require"]
    for before, after in itertools.pairwise(steps):
        assert {(before, after), (after, before)} <= CAN


@pytest.mark.parametrize("child", ["off", "accept", "prefer", "require"])
@pytest.mark.parametrize("parent", ["off", "accept", "prefer", "require"])
async def test_who_understands_whom(tmp_path: Path, child: str, parent: str) -> None:
    heard, said = await meet(*modes(tmp_path, child, parent))
    if (child, parent) in CAN:
        assert heard[0] == ParentAvailable(PARENT, BLOB.task, 1)
    else:
        assert heard == [ParentLost(PARENT, PeerFault.UNREACHABLE)]
        assert said


async def test_a_plain_child_is_told_apart_where_tls_is_required(tmp_path: Path) -> None:
    _, said = await meet(*modes(tmp_path, "accept", "require"))
    assert 'a child came without TLS, and peer.tls is "require" here' in said


async def test_certificates_of_another_authority_are_refused_by_both_sides(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours, theirs = tls_settings(tmp_path / "ours"), tls_settings(tmp_path / "theirs")
    heard, said = await meet(ours, theirs)
    assert heard == [ParentLost(PARENT, PeerFault.UNREACHABLE)]
    assert "TLS with a parent failed: its certificate is not of our authority" in said
    believing = theirs | {
        "ca_file": ours["ca_file"]
    }  # this one would take anybody: it is the parent that refuses
    heard, said = await meet(believing | {"tls": "require"}, ours)
    assert heard == [ParentLost(PARENT, PeerFault.UNREACHABLE)]
    assert "TLS with a child failed: its certificate is not of our authority" in said


async def test_a_child_without_a_certificate_is_refused(tmp_path: Path) -> None:
    settings = tls_settings(tmp_path)
    served, got = Inbox(), Inbox()
    async with serving(served, secured=settings) as (_, at), taking(got, secured=settings) as client:
        assert client._tls._contexts is not None
        bare = ssl.create_default_context(cafile=settings["ca_file"])
        bare.check_hostname = False
        client._tls._contexts = bare, client._tls._contexts[1]
        client.subscribe(Parent(PARENT, (at,)), BLOB.task, BLOB.pieces.size)
        await got.wait_for(lambda event: isinstance(event, ParentLost))
    assert any("TLS with a child failed" in str(note.fields) for note in served.notes)


async def test_an_older_tls_is_refused(tmp_path: Path) -> None:
    settings = tls_settings(tmp_path)
    served, got = Inbox(), Inbox()
    async with serving(served, secured=settings) as (_, at), taking(got, secured=settings) as client:
        assert client._tls._contexts is not None
        context = client._tls._contexts[0]
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        client.subscribe(Parent(PARENT, (at,)), BLOB.task, BLOB.pieces.size)
        await got.wait_for(lambda event: isinstance(event, ParentLost))
    assert any("UNSUPPORTED_PROTOCOL" in str(note.fields) for note in served.notes)


async def test_new_files_count_from_the_next_connection_and_broken_ones_never(tmp_path: Path) -> None:
    notes: list[Note] = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    settings, new = tls_settings(tmp_path / "old"), tls_settings(tmp_path / "new")
    tls = PeerTls(PeerConfig(**settings), notes.append)
    first = tls._context(server_side=True)
    assert tls._context(server_side=True) is first
    Path(settings["ca_file"]).write_text("no certificate")
    for _ in range(2):  # it is not tried, and told, for each connection
        assert tls._context(server_side=True) is first
    assert [note.name for note in notes] == ["peer_tls_unreadable"]
    shutil.copy(new["ca_file"], settings["ca_file"])
    tls._retry_at = 0.0
    for key in ("certificate_file", "key_file"):
        shutil.copy(new[key], settings[key])
    assert tls._context(server_side=True) is not first
    assert len(notes) == 1


async def test_a_file_that_is_made_readable_counts_though_nothing_in_it_changed(tmp_path: Path) -> None:
    settings = tls_settings(tmp_path)
    tls = PeerTls(PeerConfig(**settings))
    first = tls._context(server_side=True)
    os.chmod(settings["key_file"], 0o640)
    assert tls._context(server_side=True) is not first


async def test_patience_is_learned_from_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_tls, "HANDSHAKE_S", 0.05)
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as silent:
        tls = PeerTls(PeerConfig(**tls_settings(Path(directory))))
        patience = Patience(start_s=0.0)
        limits = []
        for _ in range(2):
            sock = socket.create_connection(silent.getsockname())
            sock.setblocking(False)
            limits.append(patience.limit_s(0.05))
            with pytest.raises(PeerUnreachable, match=r"TLS with a parent failed: nothing more came within"):
                await tls.open(sock, patience)
        assert limits[1] > limits[0]


@pytest.mark.parametrize("broken", ["certificate_file", "key_file", "ca_file"])
def test_files_that_cannot_be_used_are_named_at_the_start(tmp_path: Path, broken: str) -> None:
    settings = tls_settings(tmp_path)
    files = {key: tmp_path / f"{key}.pem" for key in ("certificate_file", "key_file", "ca_file")}
    for key, file in files.items():
        shutil.copy(settings[key], file)
        settings[key] = str(file)
    files[broken].write_text("nothing of use")
    shown = "peer.ca_file" if broken == "ca_file" else "peer.certificate_file"
    with pytest.raises(ConfigError, match=f"cannot be used for TLS between hosts.*check {shown}"):
        PeerTls(PeerConfig(**settings))
    files[broken].unlink()
    with pytest.raises(ConfigError, match=f"check {shown}"):
        PeerTls(PeerConfig(**settings))


def test_tls_takes_files() -> None:
    with pytest.raises(ConfigError, match=r"peer\.tls.*peer\.certificate_file and peer\.ca_file"):
        PeerConfig(tls="require")
    with pytest.raises(ConfigError, match="off, accept, prefer, require"):
        PeerConfig(tls="on")


async def test_pieces_travel_while_some_hosts_have_tls_and_others_do_not_yet(tmp_path: Path) -> None:
    source, target = BLOB.file(), BLOB.empty_file()
    for child, parent in (("accept", "prefer"), ("prefer", "accept")):
        ours, theirs = modes(tmp_path, child, parent)
        served, got = Inbox(), Inbox()
        async with serving(served, secured=theirs) as (server, at), taking(got, secured=ours) as client:
            client.subscribe(Parent(PARENT, (at,)), BLOB.task, BLOB.pieces.size)
            await served.wait_for(bool)
            server.send_availability(CHILD, BLOB.task, BLOB.pieces.size, full(BLOB.pieces.count))

            def react(event: object, server: Any = server) -> None:
                length = BLOB.pieces.length(0)
                server.start_upload(CHILD, event.request, BLOB.task, BLOB.records[0], source, length)  # type: ignore[attr-defined]

            served.react = react
            client.request(PARENT, BLOB.task, 0, target, False)
            await got.wait_for(lambda event: isinstance(event, PieceArrived))
