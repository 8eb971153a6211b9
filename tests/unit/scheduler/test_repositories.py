from scheduler import repositories
from scheduler.host import Host
from scheduler.repositories import Repositories
from swarm.ids import HostId, TaskId
from swarm.messages import AskRepository, HostInfo, RepositoryAnswer, RepositoryReport, Role, TagReport

OLD, NEW = TaskId("sha256:old"), TaskId("sha256:new")


def host(name: str, role: Role = Role.NORMAL) -> Host:
    return Host(HostInfo(HostId(name), (), role=role))


def told(table: Repositories, name: str, digest: TaskId, role: Role = Role.NORMAL) -> None:
    table.tag_reported(host(name, role), TagReport("r", "library/a", "latest", digest, "type", 10))


def resolved(table: Repositories) -> str:
    return table.answer(AskRepository(1, "r", "library/a", "latest")).digest


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
    answer = table.answer(AskRepository(7, "r", "library/a", "latest"))
    assert answer == RepositoryAnswer(7, public=False, digest=NEW, media_type="type", size=10)


def test_the_latest_agreement_counts() -> None:
    table = Repositories()
    for name in "ab":
        told(table, name, OLD)
    told(table, "c", NEW)
    assert resolved(table) == OLD
    told(table, "a", NEW)
    assert resolved(table) == NEW


def test_public_and_members_are_taken_from_any_host() -> None:
    table = Repositories()
    table.reported(RepositoryReport("r", "library/a", public=True, members=(OLD,)))
    table.reported(RepositoryReport("r", "library/a", public=False, members=(NEW,)))
    answer = table.answer(AskRepository(1, "r", "library/a", digest=OLD))
    assert (answer.public, answer.member, answer.digest) == (True, True, "")
    assert not table.answer(AskRepository(1, "r", "library/a", digest="sha256:other")).member


def test_asking_enters_nothing() -> None:
    table = Repositories()
    assert table.answer(AskRepository(3, "r", "unknown", "latest", OLD)) == RepositoryAnswer(3, public=False)
    assert not table._table


def test_all_tables_are_bounded() -> None:
    table = Repositories()
    for number in range(repositories.TAGS_MAX + 5):
        table.tag_reported(host("a"), TagReport("r", "many", f"v{number}", OLD, "", 1))
    for number in range(repositories.REPORTS_PER_TAG_MAX + 5):
        told(table, f"h{number}", TaskId(f"sha256:{number}"))
    members = tuple(TaskId(f"sha256:{number}") for number in range(repositories.MEMBERS_MAX))
    table.reported(RepositoryReport("r", "many", True, members))
    table.reported(RepositoryReport("r", "many", True, (NEW,)))
    for number in range(repositories.REPOSITORIES_MAX + 5):
        table.reported(RepositoryReport("r", f"repository{number}", True))
    table.validate()
    assert not table.answer(AskRepository(1, "r", "many", "v300")).public, (
        "the least recently used is forgotten"
    )
