"""Piece digests by the system's library are the wheel's, in whatever parts bytes come; else the wheel makes them."""

import ctypes
import mmap
import platform
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from xxhash import xxh3_128

from dfdaemon.io import piece_hash as module
from dfdaemon.io.piece_hash import LIBRARY, SPARE_MAX, SystemXxh3, piece_hash, system_library

CONTENT = random.Random(11).randbytes(2_000_003)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    system_library.cache_clear()
    yield
    system_library.cache_clear()


def system_xxh3() -> SystemXxh3:
    """Return a hash object of the library; where processors are of another kind, by its one way."""
    if platform.machine() != "x86_64":
        return SystemXxh3(module._Library(LIBRARY, "XXH3_128bits_update"))
    made = piece_hash("xxh3")()
    assert isinstance(made, SystemXxh3), f"{LIBRARY} has no way to choose by processor, or is not right"
    return made


@pytest.mark.parametrize("length", [0, 1, 3, 8, 16, 17, 128, 129, 240, 241, 1024, 65_536, 524_288, 2_000_003])
@pytest.mark.needs("xxhash")
def test_a_digest_is_the_wheels(length: int) -> None:
    ours = system_xxh3()
    ours.update(CONTENT[:length])
    assert ours.digest() == xxh3_128(CONTENT[:length]).digest()


@pytest.mark.needs("xxhash")
def test_parts_of_any_length_and_kind() -> None:
    dice = random.Random(2)
    for _ in range(50):
        ours, wheel, begin = system_xxh3(), xxh3_128(), dice.randrange(1000)
        while begin < len(CONTENT):
            end = begin + int(10 ** dice.uniform(0, 6))
            part = CONTENT[begin:end]
            ours.update(dice.choice([part, bytearray(part), memoryview(part), memoryview(bytearray(part))]))
            wheel.update(part)
            begin = end
            if dice.random() < 0.1:
                assert ours.digest() == wheel.digest(), "also in between"
        assert ours.digest() == wheel.digest()


@pytest.mark.needs("xxhash")
def test_a_part_of_a_receivers_buffer() -> None:
    room = memoryview(mmap.mmap(-1, 1 << 20))
    room[:] = CONTENT[: len(room)]
    ours = system_xxh3()
    ours.update(room[1001:700_000])
    assert ours.digest() == xxh3_128(CONTENT[1001:700_000]).digest()


@pytest.mark.needs("xxhash")
def test_a_state_that_was_used_begins_anew() -> None:
    first = system_xxh3()
    first.update(b"something")
    library = first._library
    del first
    assert len(library.spare) == 1
    second = system_xxh3()
    assert library.spare == []
    assert second.digest() == xxh3_128(b"").digest()


@pytest.mark.needs("xxhash")
def test_states_are_kept_for_so_many_pieces_and_no_more() -> None:
    made = [system_xxh3() for _ in range(SPARE_MAX + 8)]
    library = made[0]._library
    made.clear()
    assert len(library.spare) == SPARE_MAX


def test_threads_have_states_of_their_own() -> None:
    def digest(number: int) -> bytes:
        ours = piece_hash("xxh3")()
        for begin in range(number, len(CONTENT), 100_000):
            ours.update(memoryview(CONTENT)[begin : begin + 100_000])
        return ours.digest()

    with ThreadPoolExecutor(4) as threads:
        for number, found in enumerate(threads.map(digest, range(64))):
            assert found == xxh3_128(CONTENT[number:]).digest()


def test_without_the_library_or_with_an_older_one_it_is_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system_library("libnowhere.so.0") is None
    assert system_library("libc.so.6") is None, "it has no such functions"
    monkeypatch.setattr(module, "system_library", lambda: None)
    assert piece_hash("xxh3") is xxh3_128


@pytest.mark.needs("xxhash")
def test_a_library_that_gives_other_digests_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(module._Library):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.update = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
                lambda state, place, size: 0
            )

    monkeypatch.setattr(module, "_Library", Other)
    assert system_library() is None


def test_blake3_is_what_it_was() -> None:
    from blake3 import blake3

    ours = piece_hash("blake3")()
    ours.update(b"content")
    assert ours.digest() == blake3(b"content").digest()
