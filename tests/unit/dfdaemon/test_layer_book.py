import pytest

from dfdaemon import layer_book
from dfdaemon.layer_book import LayerBook
from swarm.digest import Digest
from swarm.layers import Layer

IMAGE, OTHER = Digest.of(b"manifest"), Digest.of(b"another")
A, B, C = (Digest.of(letter).task for letter in (b"a", b"b", b"c"))


def test_layers_have_the_places_of_their_manifest() -> None:
    book = LayerBook()
    book.listed(str(IMAGE), [A, B])
    assert (book.find(A), book.find(B), book.find(C)) == (Layer(str(IMAGE), 0), Layer(str(IMAGE), 1), None)


def test_a_layer_that_is_there_twice_is_unpacked_where_it_is_first() -> None:
    book = LayerBook()
    book.listed(str(IMAGE), [A, B, A])
    assert book.find(A) == Layer(str(IMAGE), 0)


def test_a_layer_of_two_images_is_one_of_the_last_read() -> None:
    book = LayerBook()
    book.listed(str(IMAGE), [A, B])
    book.listed(str(OTHER), [C, B])
    assert (book.find(A), book.find(B)) == (Layer(str(IMAGE), 0), Layer(str(OTHER), 1))


def test_the_book_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_book, "LAYERS_MAX", 2)
    book = LayerBook()
    book.listed(str(IMAGE), [A, B])
    book.listed(str(OTHER), [A, C])
    assert [book.find(digest) is not None for digest in (A, B, C)] == [True, False, True]
