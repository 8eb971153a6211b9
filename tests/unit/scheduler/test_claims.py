from scheduler.claims import ANSWER_S, OPEN_MAX, Claim, Claims
from swarm.ids import HostId, TaskId

NEVER = float("inf")


def claim(at: float, index: int = 0) -> Claim:
    return Claim(at + ANSWER_S, TaskId("blob"), index, b"wrong", HostId("a"), HostId("b"))


def test_a_claim_waits_until_the_accused_had_its_time() -> None:
    claims = Claims()
    claims.add(claim(1.0))
    claims.add(claim(2.0))
    assert claims.next_at() == 1.0 + ANSWER_S
    assert claims.take_due(ANSWER_S) == []
    assert claims.take_due(1.5 + ANSWER_S) == [claim(1.0)]
    assert claims.take_due(100.0) == [claim(2.0)]
    assert claims.next_at() == NEVER
    claims.validate()


def test_claims_that_wait_are_bounded() -> None:
    claims = Claims()
    for index in range(OPEN_MAX + 1):
        claims.add(claim(1.0, index))
    claims.validate()
    assert len(claims) == OPEN_MAX
    assert claims.take_due(1.0 + ANSWER_S)[-1] == claim(1.0, OPEN_MAX - 1), "the last one is not taken"
