from dfdaemon.proof import Proof
from swarm.ids import Epoch, HostId
from swarm.messages import PieceRecord

A, B, C = HostId("a"), HostId("b"), HostId("c")


def claim(digest: bytes, index: int = 0) -> PieceRecord:
    return PieceRecord(index, digest, Epoch(1))


def test_a_claim_that_nothing_contradicts_is_taken() -> None:
    proof = Proof()
    proof.hear(A, [claim(b"x")])
    assert proof.expected(claim(b"x")) == b"x"


def test_a_trusted_digest_outweighs_any_claim() -> None:
    proof = Proof()
    proof.hear(A, [claim(b"x")])
    proof.hear(B, [claim(b"x")])
    proof.trust([claim(b"truth")])
    assert proof.expected(claim(b"x")) == b"truth"
    assert proof.trusted_bits == 0b1


def test_where_claims_differ_two_hosts_outweigh_one() -> None:
    proof = Proof()
    proof.hear(A, [claim(b"x")])
    proof.hear(B, [claim(b"y")])
    assert proof.expected(claim(b"x")) == b"x", "one against one: the blob's digest decides in the end"
    proof.hear(C, [claim(b"y")])
    assert proof.expected(claim(b"x")) == b"y"
    assert proof.expected(claim(b"y")) == b"y"


def test_one_host_does_not_vote_twice() -> None:
    proof = Proof()
    proof.hear(A, [claim(b"x")])
    proof.hear(B, [claim(b"y")])
    proof.hear(B, [claim(b"y")])
    assert proof.expected(claim(b"x")) == b"x"


def test_what_we_fetched_is_trusted() -> None:
    proof = Proof()
    proof.hold(claim(b"truth"), from_origin=True)
    assert proof.fetched == 0b1
    assert proof.expected(claim(b"x")) == b"truth"
    proof.drop(0)
    assert proof.fetched == 0
    assert proof.records == {}


def test_the_origin_convicts_who_gave_other_bytes() -> None:
    proof = Proof()
    for index in (0, 1):
        proof.hold(claim(b"x", index), from_origin=False)
        proof.suspect(index, A)
    assert proof.convict(claim(b"x", 0)) is None
    assert proof.convict(claim(b"truth", 1)) == (A, b"x")
    assert proof.convict(claim(b"truth", 1)) is None, "told once"
