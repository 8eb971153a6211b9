import pytest

from swarm.errors import WireError
from swarm.piece_digest import DIGEST_BYTES, kind_of, piece_digest

# From the vectors of the XXH3 and BLAKE3 reference implementations: the empty input.
OF_NOTHING = {
    "xxh3": "99aa06d3014798d86001c324468d497f",
    "blake3": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
}


@pytest.mark.parametrize("kind", DIGEST_BYTES)
def test_a_piece_of_nothing_has_the_published_digest(kind: str) -> None:
    assert piece_digest(kind)().digest().hex() == OF_NOTHING[kind]


@pytest.mark.parametrize("kind", DIGEST_BYTES)
def test_bytes_may_come_in_any_steps(kind: str) -> None:
    whole, steps = piece_digest(kind)(), piece_digest(kind)()
    whole.update(b"damselfly")
    for step in (b"dam", bytearray(b"sel"), memoryview(b"fly")):
        steps.update(step)
    assert whole.digest() == steps.digest() != piece_digest(kind)().digest()


@pytest.mark.parametrize("kind", DIGEST_BYTES)
def test_the_length_of_a_digest_tells_its_kind(kind: str) -> None:
    assert kind_of(piece_digest(kind)().digest()) == kind


@pytest.mark.parametrize("length", [0, 15, 17, 31, 33])
def test_other_lengths_are_no_piece_digest(length: int) -> None:
    with pytest.raises(WireError, match=f"16 or 32 bytes, got {length}"):
        kind_of(bytes(length))


def test_an_unknown_kind_has_no_maker() -> None:
    with pytest.raises(KeyError):
        piece_digest("md5")
