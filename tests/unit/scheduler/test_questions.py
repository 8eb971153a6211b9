"""Many hosts ask; one finds out."""

import pytest

from scheduler import questions
from scheduler.events import PurgeWanted
from scheduler.repositories import STRANGERS_TTL_S
from swarm.messages import Role
from swarm.repositories import (
    AskRepository,
    Purge,
    RepositoryAnswer,
    RepositoryReport,
    ResolveTag,
    TagPushed,
    TagReport,
    TagUnresolved,
)
from tests.support.scheduler_playbook import BLOB, Playbook

R, N = "r", "library/a"
RESOLVE = ResolveTag(R, N, "v1")
REPORT = TagReport(R, N, "v1", BLOB, "type", 7)
PUBLIC = RepositoryReport(R, N, True, (BLOB,), (7,))
UNKNOWN = RepositoryAnswer(1, public=False)


def tag(fresh: bool = True) -> AskRepository:
    return AskRepository(1, R, N, "v1", fresh=fresh)


def member() -> AskRepository:
    return AskRepository(1, R, N, digest=BLOB, fresh=True)


@pytest.fixture
def play() -> Playbook:
    play = Playbook()
    play.attach("a", "b", "c")
    play.attach("s", role=Role.SEED)
    return play


def answers(play: Playbook, *names: str) -> list[list[RepositoryAnswer]]:
    return [play.told(name, RepositoryAnswer) for name in names]


def resolve(play: Playbook) -> None:
    """The seed finds out."""
    play.says("s", PUBLIC)
    play.says("s", REPORT)


# --- tags ------------------------------------------------------------------------------------------------------


def test_one_seed_resolves_a_tag_for_all_that_ask_meanwhile(play: Playbook) -> None:
    for name in "abc":
        play.says(name, tag())
    assert play.told("s", ResolveTag, play.said) == [RESOLVE]
    assert answers(play, *"abc") == [[], [], []]
    resolve(play)
    expected = RepositoryAnswer(1, True, BLOB, "type", 7)
    assert answers(play, *"abc") == [[expected]] * 3


def test_the_next_ones_get_it_at_once_until_the_ttl_is_over(play: Playbook) -> None:
    play.says("a", tag())
    resolve(play)
    play.wait(play.machine.cluster.config.tag_ttl_s - 0.1)
    play.says("b", tag())
    assert answers(play, "b")[0][0].digest == BLOB
    play.wait(0.2)
    play.says("b", tag())
    assert answers(play, "b") == [[]]
    assert play.told("s", ResolveTag) == [RESOLVE]


def test_what_ordinary_hosts_resolve_is_refused(play: Playbook) -> None:
    play.says("a", tag())
    for name in "bc":
        play.says(name, PUBLIC)
        play.says(name, REPORT)
    assert play.told("a", RepositoryAnswer, play.said) == [], "it waits for the seed"
    play.says("b", tag())
    assert answers(play, "b") == [[]]
    play.says("b", tag(fresh=False))
    assert answers(play, "b")[0][0].digest == BLOB, "two that agree count in an outage"


def test_a_seed_that_does_not_answer_holds_nobody_up_for_long(play: Playbook) -> None:
    play.says("a", tag())
    play.wait(questions.SEED_S)
    assert answers(play, "a") == [[UNKNOWN]]
    play.says("a", tag())
    assert play.told("s", ResolveTag) == [RESOLVE], "it is asked again"


def test_a_tag_that_strangers_cannot_read_is_not_asked_for_again_at_once(play: Playbook) -> None:
    play.says("a", tag())
    play.says("b", TagUnresolved(R, N, "v1"))
    assert answers(play, "a") == [[]], "only the seed may say so"
    play.says("s", TagUnresolved(R, N, "v1"))
    assert answers(play, "a") == [[UNKNOWN]]
    play.says("b", tag())
    assert answers(play, "b") == [[UNKNOWN]]
    play.wait(play.machine.cluster.config.tag_ttl_s)
    play.says("b", tag())
    assert play.told("s", ResolveTag) == [RESOLVE]


def test_hosts_are_told_when_the_seed_found_the_registry_down(play: Playbook) -> None:
    play.says("a", tag())
    play.says("s", TagUnresolved(R, N, "v1", down=True))
    assert answers(play, "a") == [[RepositoryAnswer(1, public=False, down=True)]]
    play.says("b", tag())
    assert answers(play, "b")[0][0].down
    resolve(play)
    play.says("c", tag())
    assert not answers(play, "c")[0][0].down


def test_without_a_seed_hosts_ask_by_themselves(play: Playbook) -> None:
    play.lose("s")
    play.says("a", tag())
    assert answers(play, "a") == [[UNKNOWN]]


def test_a_push_makes_it_new(play: Playbook) -> None:
    play.says("a", tag())
    resolve(play)
    play.says("b", TagPushed(R, N, "v1"))
    play.says("c", tag())
    assert play.told("s", ResolveTag) == [RESOLVE]
    assert answers(play, "c") == [[]]


def test_an_answer_that_may_be_older_than_a_push_is_asked_for_again(play: Playbook) -> None:
    play.says("a", tag())
    play.says("b", TagPushed(R, N, "v1"))
    resolve(play)
    assert answers(play, "a") == [[]]
    assert play.told("s", ResolveTag) == [RESOLVE]
    play.says("s", REPORT)
    assert answers(play, "a")[0][0].digest == BLOB


def test_a_purge_forgets_it(play: Playbook) -> None:
    play.says("a", tag())
    resolve(play)
    play.event(PurgeWanted(Purge(registry=R, repository=N, tag="v1")))
    play.says("a", tag(fresh=False))
    assert answers(play, "a")[0][0].digest == ""


def test_seeds_share_the_repositories(play: Playbook) -> None:
    play.attach("t", role=Role.SEED)
    for number in range(20):
        play.says("a", AskRepository(1, R, f"n{number}", "v1", fresh=True))
    asked = [len(play.told(name, ResolveTag, play.said)) for name in "st"]
    assert sum(asked) == 20
    assert min(asked) > 2


# --- membership ------------------------------------------------------------------------------------------------


def test_the_first_that_asks_for_a_digest_finds_out_for_all(play: Playbook) -> None:
    play.says("a", member())
    assert answers(play, "a") == [[UNKNOWN]], "go and ask the origin"
    play.says("b", member())
    play.says("c", member())
    play.says("a", member())
    assert answers(play, *"abc") == [[UNKNOWN], [], []], "it does not wait for itself"
    play.says("a", PUBLIC)
    assert answers(play, *"abc") == [[], *[[RepositoryAnswer(1, True, size=7, member=True)]] * 2]
    play.says("c", member())
    assert answers(play, "c")[0][0].member


def test_the_others_wait_a_moment_only(play: Playbook) -> None:
    play.says("a", member())
    play.says("b", member())
    play.wait(questions.FINDER_S)
    assert answers(play, "b") == [[UNKNOWN]]


def test_the_others_hear_at_once_when_the_first_got_no_yes(play: Playbook) -> None:
    play.says("a", member())
    play.says("b", member())
    play.says("a", RepositoryReport(R, N, False, unproven=(BLOB,)))
    assert answers(play, "b") == [[UNKNOWN]]


def test_whoever_is_in_no_hurry_to_know_is_answered_at_once(play: Playbook) -> None:
    play.says("a", member())
    play.says("b", AskRepository(1, R, N, digest=BLOB))
    assert answers(play, "b") == [[UNKNOWN]]


# --- strangers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("public", [True, False])
def test_one_host_finds_out_whether_strangers_are_let_in(play: Playbook, public: bool) -> None:
    strangers = AskRepository(1, R, N, fresh=True)
    for name in "abc":
        play.says(name, strangers)
    assert [len(play.told(name, RepositoryAnswer, play.said)) for name in "abc"] == [1, 0, 0]
    play.says("a", RepositoryReport(R, N, public, closed=not public))
    told = [RepositoryAnswer(1, public, closed=not public)]
    assert answers(play, *"abc") == [[], told, told]
    play.says("b", strangers)
    assert answers(play, "b") == [told]
    play.wait(STRANGERS_TTL_S)
    play.says("b", strangers)
    assert not answers(play, "b")[0][0].closed, "go and ask again"


def test_open_questions_are_bounded(play: Playbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "QUESTIONS_MAX", 3)
    monkeypatch.setattr(questions, "WAITING_MAX", 1)
    monkeypatch.setattr(questions, "UNRESOLVED_MAX", 2)
    for number in range(5):
        play.says("a", AskRepository(1, R, f"n{number}", "v1", fresh=True))
    assert answers(play, "a") == [[UNKNOWN]], "nobody is asked for the fourth and the fifth"
    play.says("b", AskRepository(1, R, "n0", "v1", fresh=True))
    assert answers(play, "b") == [[UNKNOWN]], "one waits already"
    for number in range(3):
        play.says("s", TagUnresolved(R, f"n{number}", "v1"))
    play.machine.validate()
