from swarm.roots import ROOT_BYTES, root_of

ONE, TWO = b"1" * 32, b"2" * 32


def test_the_root_is_of_all_digests_in_order_and_of_the_size() -> None:
    root = root_of(10, (ONE, TWO))
    assert len(root) == ROOT_BYTES
    assert root == root_of(10, [ONE, TWO])
    others = [root_of(11, (ONE, TWO)), root_of(10, (TWO, ONE)), root_of(10, (ONE,)), root_of(10, ())]
    assert len({root, *others}) == 5


def test_digests_of_other_lengths_cannot_make_the_same_root() -> None:
    assert root_of(10, (ONE[:16], ONE[16:])) != root_of(10, (ONE,))


def test_the_root_is_the_same_in_every_version() -> None:
    """Hosts of two versions compare roots."""
    assert root_of(10, (ONE, TWO)).hex() == "d2e1e657622d0dace46043ffc31e6aeea9e53030a4ce52cde3e59839fea6f9d0"
