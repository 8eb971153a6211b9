"""Forged pieces go from host to host: whatever way they take, who only passed them on stays innocent."""

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.claims import ANSWER_S
from swarm.ids import HostId
from swarm.messages import PieceRecord, PieceRejected, Progress, TaskInfo, TaskProgress
from tests.support.scheduler_playbook import BLOB, Playbook

HOSTS = [f"h{number}" for number in range(9)]
PIECES = 2


def wrong(index: int, forger: str) -> bytes:
    """Return what a forger's piece hashes to."""
    return f"{forger}{index}".encode().ljust(16, b".")


class Swarm:
    """Hosts that pass pieces on as they came, and two forgers that make some up; who is told what is right looks."""

    def __init__(self, forgers: list[str]) -> None:
        self.play = Playbook(Playbook.config(connections=1))
        self.play.join(*HOSTS)
        self.forgers = forgers
        self.given: dict[tuple[str, int], tuple[str, bytes]] = {}
        """By host and piece: who gave it, and what it hashes to, where that is wrong."""
        self.looked: set[str] = set()
        owner, lease = self.play.only_lease_ever()
        records = tuple(PieceRecord(index, b"d" * 16, lease.epoch) for index in range(PIECES))
        self.play.says(owner, Progress((TaskProgress(BLOB, (1 << PIECES) - 1, records),)))
        assert len(self.play.machine.cluster.tasks[BLOB].records()) == PIECES

    def gives(self, giver: str, taker: str, index: int) -> None:
        """A host gives another a piece: a forger one of its own making, any other what it was given itself."""
        if giver == taker or taker in self.forgers or (taker, index) in self.given:
            return
        if giver in self.forgers:
            self.given[taker, index] = giver, wrong(index, giver)
        elif (giver, index) in self.given:
            self.given[taker, index] = giver, self.given[giver, index][1]

    def looks(self, host: str) -> None:
        """A host compares what it holds with what is right; so do those that its reports are about, in the end."""
        if host in self.looked or host in self.forgers:
            return
        self.looked.add(host)
        asked = []
        for (taker, index), (giver, digest) in list(self.given.items()):
            if taker == host:
                said = PieceRejected(BLOB, index, HostId(giver), b"d" * 16, digest, fits=True)
                self.play.says(host, said)
                asked += [name for name in HOSTS if self.play.told(name, TaskInfo)]
        self.play.wait(ANSWER_S / 3 / len(HOSTS))
        for name in asked:
            self.looks(name)

    def quarantined(self) -> set[str]:
        return {str(note.host) for note in self.play.notes("quarantine")}


GIFTS = st.lists(
    st.tuples(st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.integers(0, PIECES - 1)),
    min_size=20,
    max_size=150,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    gifts=GIFTS, forgers=st.sets(st.sampled_from(HOSTS), min_size=1, max_size=2), order=st.permutations(HOSTS)
)
def test_who_passed_a_forged_piece_on_is_never_punished_and_who_forged_for_two_is(
    gifts: list[tuple[str, str, int]], forgers: set[str], order: list[str]
) -> None:
    swarm = Swarm(sorted(forgers))
    for giver, taker, index in gifts:
        swarm.gives(giver, taker, index)
    for host in order:
        swarm.looks(host)
    swarm.play.wait(ANSWER_S + 0.1)
    victims = {
        name: {taker for (taker, _), (giver, _) in swarm.given.items() if giver == name} for name in forgers
    }
    assert swarm.quarantined() == {name for name in forgers if len(victims[name]) >= 2}
