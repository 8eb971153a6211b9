from swarm.ids import HostId
from swarm.io.attach_proof import Proof, Welcome, daemon_mac, same_mac, scheduler_mac

TOKEN, CHALLENGE, NONCE, HOST = b"a cluster token!", bytes(32), bytes(range(32)), HostId("n1")


def test_a_proof_depends_on_everything() -> None:
    proofs = {
        daemon_mac(TOKEN, CHALLENGE, NONCE, HOST),
        scheduler_mac(TOKEN, CHALLENGE, NONCE, HOST),
        daemon_mac(TOKEN + b"!", CHALLENGE, NONCE, HOST),
        daemon_mac(TOKEN, NONCE, NONCE, HOST),
        daemon_mac(TOKEN, CHALLENGE, CHALLENGE, HOST),
        daemon_mac(TOKEN, CHALLENGE, NONCE, HostId("n2")),
    }
    assert len(proofs) == 6
    assert {len(proof) for proof in proofs} == {32}


def test_the_same_parts_give_the_same_proof() -> None:
    ours, theirs = (daemon_mac(TOKEN, CHALLENGE, NONCE, HOST) for _ in range(2))
    assert same_mac(ours, theirs)
    assert not same_mac(ours, b"")


def test_without_a_token_there_is_nothing_to_prove() -> None:
    assert daemon_mac(b"", CHALLENGE, NONCE, HOST) == scheduler_mac(b"", CHALLENGE, NONCE, HOST) == b""


def test_proofs_stay_out_of_texts() -> None:
    assert "mac" not in repr(Proof(1, HOST, NONCE, b"0" * 32)) + repr(Welcome(b"0" * 32))
