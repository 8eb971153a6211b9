from dfdaemon.proof import Proof
from swarm.ids import Epoch, HostId
from swarm.messages import PieceRecord

COUNT = 8
A, B, C = HostId("a"), HostId("b"), HostId("c")


def claim(digest: bytes, index: int = 0) -> PieceRecord:
    return PieceRecord(index, digest, Epoch(1))


def test_a_claim_that_nothing_contradicts_is_taken() -> None:
    proof = Proof(COUNT)
    proof.hear(A, [claim(b"x")])
    assert proof.expected(claim(b"x")) == b"x"


def test_a_trusted_digest_outweighs_any_claim() -> None:
    proof = Proof(COUNT)
    proof.hear(A, [claim(b"x")])
    proof.hear(B, [claim(b"x")])
    proof.trust([claim(b"truth")])
    assert proof.expected(claim(b"x")) == b"truth"
    assert proof.trusted_bits == 0b1


def test_where_claims_differ_two_hosts_outweigh_one() -> None:
    proof = Proof(COUNT)
    proof.hear(A, [claim(b"x")])
    proof.hear(B, [claim(b"y")])
    assert proof.expected(claim(b"x")) == b"x", "one against one: the blob's digest decides in the end"
    proof.hear(C, [claim(b"y")])
    assert proof.expected(claim(b"x")) == b"y"
    assert proof.expected(claim(b"y")) == b"y"


def test_one_host_does_not_vote_twice() -> None:
    proof = Proof(COUNT)
    proof.hear(A, [claim(b"x")])
    proof.hear(B, [claim(b"y")])
    proof.hear(B, [claim(b"y")])
    assert proof.expected(claim(b"x")) == b"x"


def test_what_we_fetched_is_trusted() -> None:
    proof = Proof(COUNT)
    proof.hold(claim(b"truth"), from_origin=True)
    assert proof.fetched == 0b1
    assert proof.expected(claim(b"x")) == b"truth"
    proof.drop(0)
    assert proof.fetched == 0
    assert proof.records == {}


def test_the_origin_convicts_who_gave_other_bytes() -> None:
    proof = Proof(COUNT)
    for index in (0, 1):
        proof.hold(claim(b"x", index), from_origin=False)
        proof.suspect(index, A)
    assert proof.convict(claim(b"x", 0)) is None
    assert proof.convict(claim(b"truth", 1)) == (A, b"x")
    assert proof.convict(claim(b"truth", 1)) is None, "told once"


def test_a_claim_about_what_we_hold_may_contradict_it() -> None:
    proof = Proof(COUNT)
    proof.hold(claim(b"x"), from_origin=False)
    assert not proof.hear(A, [claim(b"x"), claim(b"x", 1)])
    assert proof.hear(A, [claim(b"y")])


def test_two_claims_may_contradict_each_other() -> None:
    proof = Proof(COUNT)
    assert not proof.hear(A, [claim(b"x")])
    assert proof.hear(B, [claim(b"y")])
    assert proof.is_contested(claim(b"y"))
    assert not proof.is_contested(claim(b"x"))
    proof.trust([claim(b"x")])
    assert not proof.is_contested(claim(b"y")), "that is settled"
    assert proof.trusted(0) == b"x"
    assert proof.trusted(1) is None


def test_pieces_from_others_that_are_not_what_is_trusted_are_found() -> None:
    proof = Proof(COUNT)
    proof.hold(claim(b"fetched", 0), from_origin=True)
    for index in (1, 2, 3):
        proof.hold(claim(b"x", index), from_origin=False)
    proof.trust([claim(b"truth", 0), claim(b"truth", 1), claim(b"x", 2), claim(b"truth", 4)])
    assert proof.contradicted() == 0b10, "of what we fetched ourselves we are sure"
    proof.drop(1)
    assert proof.contradicted() == 0


def test_what_is_distrusted_is_no_better_than_a_claim() -> None:
    proof = Proof(COUNT)
    proof.trust([claim(b"told"), claim(b"told", 1)])
    proof.distrust(0b01)
    assert proof.expected(claim(b"x")) == b"x"
    assert proof.expected(claim(b"x", 1)) == b"told"


def test_a_host_has_one_vote_for_each_piece() -> None:
    proof = Proof(1)
    proof.hear(HostId("a"), [PieceRecord(0, b"first", Epoch(1))])
    for number in range(100):
        proof.hear(HostId("b"), [PieceRecord(0, f"another {number}".encode(), Epoch(1))])
    assert sum(len(hosts) for hosts in proof._votes[0].values()) == 2
