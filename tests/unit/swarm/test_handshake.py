"""Who proves what to whom."""

import hmac
from dataclasses import replace

import pytest

from swarm.frames import HelloFrame, Purpose
from swarm.handshake import Side, choose_version, is_proof, opening_key, prove, prove_open
from swarm.ids import HostId

HELLO = HelloFrame(1, 1, Purpose.CONTROL, HostId("child"), bytes(32))
PARENT, NONCE, TOKEN = HostId("parent"), b"n" * 32, b"token"
PROOF = prove(TOKEN, Side.CHILD, HELLO, 1, PARENT, NONCE)


@pytest.mark.parametrize(
    ("theirs", "ours", "chosen"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 3), (1, 2), 2),
        ((1, 2), (2, 3), 2),
        ((2, 3), (1, 2), 2),
        ((1, 1), (2, 3), None),
        ((4, 9), (2, 3), None),
    ],
)
def test_the_newest_common_version_is_spoken(
    theirs: tuple[int, int], ours: tuple[int, int], chosen: int | None
) -> None:
    hello = replace(HELLO, version_min=theirs[0], version_max=theirs[1])
    assert choose_version(hello, *ours) == chosen


def test_a_proof_is_made_as_the_document_says() -> None:
    said = b"damselfly peer 1\0" + b"\1"
    said += b"\0\7" + b"\0\1\0\1\0\1\1" + b"\0\5child" + b"\0\6parent" + b"\0\x20" + bytes(32)
    said += b"\0\x20" + NONCE
    assert hmac.digest(TOKEN, said, "sha256") == PROOF


def test_both_sides_compute_the_same_proof() -> None:
    assert is_proof(PROOF, prove(TOKEN, Side.CHILD, replace(HELLO), 1, PARENT, NONCE))


@pytest.mark.parametrize(
    "other",
    [
        prove(b"other", Side.CHILD, HELLO, 1, PARENT, NONCE),
        prove(b"", Side.CHILD, HELLO, 1, PARENT, NONCE),
        prove(TOKEN, Side.PARENT, HELLO, 1, PARENT, NONCE),
        prove(TOKEN, Side.CHILD, replace(HELLO, purpose=Purpose.DATA), 1, PARENT, NONCE),
        prove(TOKEN, Side.CHILD, replace(HELLO, host=HostId("other")), 1, PARENT, NONCE),
        prove(TOKEN, Side.CHILD, replace(HELLO, nonce=b"x" * 32), 1, PARENT, NONCE),
        prove(TOKEN, Side.CHILD, replace(HELLO, version_max=2), 1, PARENT, NONCE),
        prove(TOKEN, Side.CHILD, HELLO, 2, PARENT, NONCE),
        prove(TOKEN, Side.CHILD, HELLO, 1, HostId("other"), NONCE),
        prove(TOKEN, Side.CHILD, HELLO, 1, PARENT, b"x" * 32),
    ],
)
def test_a_proof_holds_for_one_handshake_and_one_side(other: bytes) -> None:
    assert not is_proof(PROOF, other)


def test_names_cannot_flow_into_each_other() -> None:
    one = prove(TOKEN, Side.CHILD, replace(HELLO, host=HostId("ab")), 1, HostId("c"), NONCE)
    other = prove(TOKEN, Side.CHILD, replace(HELLO, host=HostId("a")), 1, HostId("bc"), NONCE)
    assert one != other


def test_an_opening_key_is_made_as_the_document_says() -> None:
    said = b"damselfly peer 1\0" + b"\3"
    said += b"\0\7" + b"\0\1\0\2\0\2\1" + b"\0\5child" + b"\0\6parent" + b"\0\x20" + bytes(32)
    said += b"\0\x20" + NONCE
    made = opening_key(TOKEN, replace(HELLO, version_max=2), 2, PARENT, NONCE)
    assert made == hmac.digest(TOKEN, said, "sha256")


def test_an_opening_key_is_nothing_that_was_sent() -> None:
    key = opening_key(TOKEN, HELLO, 1, PARENT, NONCE)
    assert key not in {prove(TOKEN, side, HELLO, 1, PARENT, NONCE) for side in Side}


@pytest.mark.parametrize(
    "other",
    [
        opening_key(b"other", HELLO, 1, PARENT, NONCE),
        opening_key(TOKEN, replace(HELLO, host=HostId("other")), 1, PARENT, NONCE),
        opening_key(TOKEN, replace(HELLO, nonce=b"x" * 32), 1, PARENT, NONCE),
        opening_key(TOKEN, HELLO, 1, HostId("other"), NONCE),
        opening_key(TOKEN, HELLO, 1, PARENT, b"x" * 32),
    ],
)
def test_each_handshake_has_an_opening_key_of_its_own(other: bytes) -> None:
    assert other != opening_key(TOKEN, HELLO, 1, PARENT, NONCE)


def test_an_open_is_proven_as_the_document_says() -> None:
    expected = hmac.digest(b"k" * 32, b"damselfly open\0" + b"\0\0\0\0\0\0\1\2", "sha256")
    assert prove_open(b"k" * 32, 258) == expected
    assert prove_open(b"k" * 32, 259) != expected
