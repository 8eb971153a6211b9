import pytest

from scheduler import repositories
from scheduler.host import Host, HostEvent
from scheduler.repositories import Repositories
from swarm.ids import HostId, TaskId
from swarm.messages import HostInfo, Role
from swarm.repositories import AskRepository, RepositoryAnswer, RepositoryReport, TagReport

OLD, NEW = TaskId("sha256:old"), TaskId("sha256:new")
NOW = 100.0


def host(name: str, role: Role = Role.NORMAL) -> Host:
    found = Host(HostInfo(HostId(name), (), role=role))
    found.happen(HostEvent.ATTACH)
    return found


def told(table: Repositories, name: str, digest: TaskId, role: Role = Role.NORMAL, now: float = NOW) -> None:
    table.tag_reported(host(name, role), TagReport("r", "library/a", "latest", digest, "type", 10), now)


def resolved(table: Repositories) -> str:
    return table.answer(AskRepository(1, "r", "library/a", "latest"), NOW).digest


def fresh(table: Repositories, since: float = NOW) -> str:
    found = table.fresh("r", "library/a", "latest", since)
    return found.digest if found is not None else ""


def test_one_ordinary_host_resolves_no_tag() -> None:
    table = Repositories()
    told(table, "a", NEW)
    told(table, "a", NEW)
    assert resolved(table) == ""
    told(table, "b", NEW)
    assert resolved(table) == NEW


def test_a_seed_alone_does() -> None:
    table = Repositories()
    told(table, "s", NEW, Role.SEED)
    answer = table.answer(AskRepository(7, "r", "library/a", "latest"), NOW)
    assert answer == RepositoryAnswer(7, public=False, digest=NEW, media_type="type", size=10)


def test_a_seed_in_quarantine_does_not() -> None:
    table, seed = Repositories(), host("s", Role.SEED)
    seed.happen(HostEvent.QUARANTINE)
    table.tag_reported(seed, TagReport("r", "library/a", "latest", NEW, "type", 10), NOW)
    assert resolved(table) == ""
    assert fresh(table) == ""


def test_the_latest_agreement_counts() -> None:
    table = Repositories()
    for name in "ab":
        told(table, name, OLD)
    told(table, "c", NEW)
    assert resolved(table) == OLD
    told(table, "a", NEW)
    assert resolved(table) == NEW


def test_fresh_is_only_what_a_seed_told_lately() -> None:
    table = Repositories()
    for name in "abc":
        told(table, name, OLD)
    assert fresh(table) == "", "however many ordinary hosts agree"
    told(table, "s", NEW, Role.SEED)
    told(table, "a", OLD)
    assert fresh(table) == NEW
    assert fresh(table, since=NOW + 1) == ""
    table.outdate("r", "library/a", "latest")
    assert fresh(table) == ""
    assert resolved(table) == NEW, "in an outage it is known still"
    table.forget_tag("r", "library/a", "latest")
    assert resolved(table) == ""


def test_public_and_members_are_taken_from_any_host() -> None:
    table = Repositories()
    table.reported(RepositoryReport("r", "library/a", public=True, members=(OLD,), sizes=(5,)), NOW)
    table.reported(RepositoryReport("r", "library/a", public=False, members=(NEW,)), NOW)
    answer = table.answer(AskRepository(1, "r", "library/a", digest=OLD), NOW + 7)
    assert answer == RepositoryAnswer(1, True, size=5, member=True, public_age_s=7)
    assert not table.answer(AskRepository(1, "r", "library/a", digest="sha256:other"), NOW).member
    assert table.has_member("r", "library/a", NEW)
    assert not table.has_member("r", "library/b", NEW)


def test_a_manifest_is_told_with_the_type_that_the_registry_gave_it() -> None:
    """Reports without it, as of a blob, do not take it away."""
    table = Repositories()
    table.reported(RepositoryReport("r", "n", False, (OLD, NEW), (5, 6), manifest_types=("a/b", "")), NOW)
    table.reported(RepositoryReport("r", "n", False, (OLD,), (5,)), NOW)
    answers = [table.answer(AskRepository(1, "r", "n", digest=digest), NOW) for digest in (OLD, NEW)]
    assert [(answer.media_type, answer.size) for answer in answers] == [("a/b", 5), ("", 6)]
    assert {answer.digest for answer in answers} == {""}


def test_a_size_once_known_stays_known() -> None:
    table = Repositories()
    table.reported(RepositoryReport("r", "n", False, (OLD,), (5,)), NOW)
    table.reported(RepositoryReport("r", "n", False, (OLD,), (-1,)), NOW)
    assert table.answer(AskRepository(1, "r", "n", digest=OLD), NOW).size == 5


def test_a_repository_that_refused_a_stranger_is_not_public() -> None:
    table = Repositories()
    table.reported(RepositoryReport("r", "n", public=True), NOW)
    table.reported(RepositoryReport("r", "n", public=False, closed=True), NOW)
    assert not table.answer(AskRepository(1, "r", "n"), NOW).public


def test_asking_enters_nothing() -> None:
    table = Repositories()
    ask = AskRepository(3, "r", "unknown", "latest", OLD)
    assert table.answer(ask, NOW) == RepositoryAnswer(3, public=False)
    table.outdate("r", "unknown", "latest")
    table.forget_tag("r", "unknown", "latest")
    assert not table._table


def test_all_tables_are_bounded() -> None:
    table = Repositories()
    for number in range(repositories.TAGS_MAX + 5):
        table.tag_reported(host("a"), TagReport("r", "many", f"v{number}", OLD, "", 1), NOW)
    for number in range(repositories.REPORTS_PER_TAG_MAX + 5):
        told(table, f"h{number}", TaskId(f"sha256:{number}"))
    members = tuple(TaskId(f"sha256:{number}") for number in range(repositories.MEMBERS_MAX))
    table.reported(RepositoryReport("r", "many", True, members), NOW)
    table.reported(RepositoryReport("r", "many", True, (NEW,)), NOW)
    for number in range(repositories.REPOSITORIES_MAX + 5):
        table.reported(RepositoryReport("r", f"repository{number}", True), NOW)
    table.validate()
    assert not table.answer(AskRepository(1, "r", "many", "v300"), NOW).public, (
        "the least recently used is forgotten"
    )


def test_all_repositories_together_have_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "ALL_MEMBERS_MAX", 5)
    table = Repositories()
    for name, count in (("old", 3), ("new", 2), ("newest", 2)):
        members = tuple(TaskId(f"sha256:{name}{number}") for number in range(count))
        table.reported(RepositoryReport("r", name, True, members), NOW)
        table.reported(RepositoryReport("r", name, True, members), NOW)
        table.validate()
    assert not table.has_member("r", "old", "sha256:old0")
    assert table.has_member("r", "new", "sha256:new0")
    assert table.has_member("r", "newest", "sha256:newest1")
