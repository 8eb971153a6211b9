"""The handshake against another side that breaks it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from dfdaemon.io import peer_handshake
from dfdaemon.io.peer_handshake import FirstFrame, Greeting, Identity, Welcomed, greet, refuse, take_greeting
from swarm.errors import PeerRefused, PeerUnreachable, WireError
from swarm.frames import (
    HELLO_OR_OPEN,
    VERSION_MAX,
    WELCOME_OR_REFUSED,
    Frame,
    HelloFrame,
    OpenFrame,
    PingFrame,
    ProofFrame,
    Purpose,
    Refusal,
    RefusedFrame,
    WelcomeFrame,
)
from swarm.handshake import Side, opening_key, prove
from swarm.ids import HostId
from swarm.wire import Decoder, encode
from tests.support.peers import quick

CHILD, PARENT = HostId("child"), HostId("parent")
TOKEN = b"a secret of the cluster"
ME = Identity(CHILD, TOKEN, "eu-1")
PARENTS = Identity(PARENT, TOKEN)
HELLO = HelloFrame(1, 1, Purpose.CONTROL, CHILD, b"c" * 32)


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    with one, other:
        yield one, other


async def read(sock: socket.socket, expected: frozenset[type[Frame]]) -> Frame:
    decoder, heard = Decoder(expected), list[Frame]()
    while not heard:
        heard = decoder.feed(await asyncio.get_running_loop().sock_recv(sock, decoder.wanted_bytes))
    return heard[0]


async def parent_says(
    answer: WelcomeFrame | RefusedFrame | PingFrame | None, *, proves: bytes = TOKEN
) -> Welcomed:
    """Greet a parent that answers so (None: it closes); a WELCOME gets its proof with this token."""
    async with pair() as (ours, theirs):
        greeting = asyncio.create_task(greet(ours, ME, PARENT, Purpose.DATA, quick()))
        hello = await read(theirs, HELLO_OR_OPEN)
        assert isinstance(hello, HelloFrame)
        assert (hello.host, hello.purpose, hello.zone) == (CHILD, Purpose.DATA, "eu-1")
        if isinstance(answer, WelcomeFrame):
            proof = prove(proves, Side.PARENT, hello, answer.version, answer.host, answer.nonce)
            answer = WelcomeFrame(answer.version, answer.host, answer.nonce, proof)
        if answer is None:
            theirs.close()
        else:
            theirs.sendall(encode(answer))
        return await greeting


def welcome(version: int = 1, host: HostId = PARENT) -> WelcomeFrame:
    return WelcomeFrame(version, host, b"p" * 32, b"")


async def test_a_good_parent_is_believed() -> None:
    welcomed = await parent_says(welcome())
    assert (welcomed.version, len(welcomed.key)) == (1, 32)
    assert await parent_says(welcome(2)) != welcomed


@pytest.mark.parametrize("version", [0, 3, 99])
async def test_a_version_that_was_not_offered_is_refused(version: int) -> None:
    with pytest.raises(WireError, match=f"parent chose version {version}"):
        await parent_says(welcome(version))


async def test_a_parent_that_does_not_know_the_token_learns_nothing() -> None:
    with pytest.raises(PeerRefused, match="another cluster token") as caught:
        await parent_says(welcome(), proves=b"a guess")
    assert "secret" not in str(caught.value)


async def test_another_host_at_the_address() -> None:
    with pytest.raises(PeerRefused, match="there is 'newcomer' now"):
        await parent_says(welcome(host=HostId("newcomer")))


async def test_a_refusal_is_told() -> None:
    with pytest.raises(PeerRefused, match=r"reason 3.*'full'"):
        await parent_says(RefusedFrame(Refusal.CHILDREN, "full"))


async def test_noise_instead_of_a_welcome() -> None:
    with pytest.raises(WireError, match="PingFrame is not expected"):
        await parent_says(PingFrame())


async def test_a_parent_that_closes() -> None:
    with pytest.raises(PeerUnreachable, match="closed the connection"):
        await parent_says(None)


async def test_a_parent_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_handshake, "HANDSHAKE_S", 0.01)
    async with pair() as (ours, _):
        with pytest.raises(PeerUnreachable, match=r"within 0\.01 s"):
            await greet(ours, ME, PARENT, Purpose.DATA, quick())
        assert ours.fileno() == -1, "it is closed"


async def taken(sock: socket.socket, me: Identity = PARENTS) -> Greeting:
    """Take whoever connects, as its parent."""
    hello = await FirstFrame(sock).wait()
    assert isinstance(hello, HelloFrame)
    return await take_greeting(sock, hello, me, quick())


async def child_says(hello: HelloFrame, token: bytes) -> tuple[Frame, Greeting]:
    """Let a child with this token greet us; return the last it heard, and what we think of it."""
    async with pair() as (ours, theirs):
        taking = asyncio.create_task(taken(ours))
        theirs.sendall(encode(hello))
        heard = await read(theirs, WELCOME_OR_REFUSED)
        if isinstance(heard, WelcomeFrame):
            proof = prove(token, Side.CHILD, hello, heard.version, heard.host, heard.nonce)
            theirs.sendall(encode(ProofFrame(proof)))
        return heard, await taking


async def test_a_good_child_is_let_in() -> None:
    heard, greeting = await child_says(HELLO, TOKEN)
    assert isinstance(heard, WelcomeFrame)
    key = opening_key(TOKEN, HELLO, 1, PARENT, heard.nonce)
    assert greeting == Greeting(CHILD, Purpose.CONTROL, 1, key)


async def test_a_child_may_tell_its_zone() -> None:
    _, greeting = await child_says(replace(HELLO, zone="eu-1"), TOKEN)
    assert (greeting.child, greeting.zone) == (CHILD, "eu-1")


async def test_a_child_of_a_later_version_is_spoken_to_in_ours() -> None:
    heard, _ = await child_says(HelloFrame(1, 7, Purpose.CONTROL, CHILD, b"c" * 32), TOKEN)
    assert isinstance(heard, WelcomeFrame)
    assert heard.version == VERSION_MAX


async def test_both_sides_have_the_same_key() -> None:
    async with pair() as (ours, theirs):
        taking = asyncio.create_task(taken(theirs))
        welcomed = await greet(ours, ME, PARENT, Purpose.CONTROL, quick())
        greeting = await taking
        assert (welcomed.version, welcomed.key) == (greeting.version, greeting.key)
        assert "key" not in repr(welcomed) + repr(greeting), "it is a secret"


@pytest.mark.parametrize("token", [b"", b"a guess"])
async def test_a_child_without_the_token_is_refused(token: bytes) -> None:
    with pytest.raises(PeerRefused, match="child was refused: the cluster token is another one"):
        await child_says(HELLO, token)


async def test_a_child_cannot_send_our_proof_back_to_us() -> None:
    async with pair() as (ours, theirs):
        taking = asyncio.create_task(taken(ours))
        theirs.sendall(encode(HELLO))
        heard = await read(theirs, WELCOME_OR_REFUSED)
        assert isinstance(heard, WelcomeFrame)
        theirs.sendall(encode(ProofFrame(heard.proof)))
        assert await read(theirs, WELCOME_OR_REFUSED) == RefusedFrame(
            Refusal.TOKEN, "the cluster token is another one here"
        )
        with pytest.raises(PeerRefused):
            await taking


async def test_a_child_that_speaks_only_later_versions_is_refused() -> None:
    with pytest.raises(PeerRefused, match="speaks versions 1 to 2"):
        await child_says(HelloFrame(3, 7, Purpose.CONTROL, CHILD, b"c" * 32), TOKEN)


async def test_our_own_name_is_refused() -> None:
    with pytest.raises(PeerRefused, match="same name"):
        await child_says(HelloFrame(1, 1, Purpose.CONTROL, PARENT, b"c" * 32), TOKEN)


async def test_a_child_that_is_silent_or_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair() as (ours, theirs):
        theirs.close()
        with pytest.raises(PeerUnreachable, match="closed the connection"):
            await taken(ours)
    async with pair() as (ours, theirs):
        theirs.sendall(encode(HELLO))
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(PeerUnreachable, match="closed the connection"):
            await taken(ours)
    monkeypatch.setattr(peer_handshake, "LIMIT_S_MAX", 0.01)
    async with pair() as (ours, _):
        with pytest.raises(PeerUnreachable, match=r"within 0\.01 s"):
            await taken(ours)
    async with pair() as (ours, theirs):
        theirs.sendall(encode(HELLO))
        with pytest.raises(PeerUnreachable, match=r"within 0\.01 s"):
            await taken(ours)


async def test_the_first_frame_is_read_to_the_byte_whenever_it_is_here() -> None:
    opening = OpenFrame(CHILD, 1, b"p" * 32)
    data = encode(opening)
    async with pair() as (ours, theirs):
        first = FirstFrame(ours)
        for part in (data[:3], data[3:20]):
            theirs.sendall(part)
            assert first.read() is None
        theirs.sendall(data[20:] + b"REQUEST")
        assert first.read() == opening
        assert ours.recv(100) == b"REQUEST"


async def test_a_first_frame_that_began_is_waited_for() -> None:
    opening = OpenFrame(CHILD, 1, b"p" * 32)
    data = encode(opening)
    async with pair() as (ours, theirs):
        first = FirstFrame(ours)
        theirs.sendall(data[:9])
        assert first.read() is None
        waiting = asyncio.create_task(first.wait())
        theirs.sendall(data[9:])
        assert await waiting == opening


async def test_a_first_frame_that_will_not_come() -> None:
    async with pair() as (ours, theirs):
        theirs.close()
        with pytest.raises(PeerUnreachable, match="closed the connection"):
            FirstFrame(ours).read()


async def test_who_is_refused_hears_why_though_it_has_said_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = socket.create_connection(listener.getsockname())
        parent, _ = listener.accept()
    with child, parent:
        parent.setblocking(False)
        child.sendall(b"REQUEST")
        await asyncio.get_running_loop().sock_recv(parent, 1)
        refuse(parent, CHILD, Refusal.OPENING, "no")
        parent.close()
        assert Decoder({RefusedFrame}).feed(child.recv(100)) == [RefusedFrame(Refusal.OPENING, "no")]
        assert child.recv(100) == b"", "not a reset"


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(ME)
