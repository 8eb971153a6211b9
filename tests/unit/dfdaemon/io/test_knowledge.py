"""What is told to the cluster, in how few messages, and what is never told."""

from dfdaemon.io.knowledge import REPORT_MEMBERS_MAX, Knowledge
from dfdaemon.permissions import ANONYMOUS, KnownTag, Member, Place
from swarm.digest import Digest
from swarm.messages import RepositoryReport
from tests.support.plain_blobs import PlainCluster

HERE, THERE = Place("r.test", "one"), Place("r.test", "two")


def digests(count: int) -> list[Digest]:
    return [Digest.of(str(number).encode()) for number in range(count)]


async def test_the_findings_of_a_pull_are_one_message() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    listed = digests(12)
    for digest in (*listed, *listed):
        knowledge.listed(HERE, digest, Member(1, "", True))
    knowledge.published(HERE)
    knowledge.listed(THERE, listed[0], Member(1, "", True))
    assert cluster.repositories == []
    knowledge.close()
    assert cluster.repositories == [
        RepositoryReport(*HERE, True, tuple(digest.task for digest in listed)),
        RepositoryReport(*THERE, False, (listed[0].task,)),
    ]
    knowledge.close()
    assert len(cluster.repositories) == 2


async def test_a_size_that_was_only_read_is_not_told() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    knowledge.listed(HERE, digests(1)[0], Member(1, "", False))
    knowledge.close()
    assert cluster.repositories == []


async def test_a_report_is_bounded() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    for digest in digests(REPORT_MEMBERS_MAX + 5):
        knowledge.listed(HERE, digest, Member(1, "", True))
    knowledge.close()
    assert [len(report.members) for report in cluster.repositories] == [REPORT_MEMBERS_MAX]


async def test_a_tag_is_told_at_once_and_its_digest_belongs() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    (digest,) = digests(1)
    knowledge.resolved(HERE, "v1", KnownTag(digest, -1, "a/b"))
    (report,) = cluster.tags
    assert (report.tag, report.digest, report.size) == ("v1", digest.task, 0)
    member = knowledge.tables.member(HERE, digest)
    assert member is not None
    assert member.proven
    knowledge.close()


async def test_credentials_are_kept_as_hashes_of_this_process_alone() -> None:
    one, other = Knowledge(PlainCluster()), Knowledge(PlainCluster())
    assert one.credential(None) == ANONYMOUS
    assert one.credential("Bearer x") == one.credential("Bearer x")
    assert one.credential("Bearer x") != one.credential("Bearer y")
    assert one.credential("Bearer x") != other.credential("Bearer x")
    assert one.credential("") != ANONYMOUS


async def test_a_stranger_is_permitted_only_where_it_is_public() -> None:
    knowledge = Knowledge(PlainCluster())
    knowledge.accepted(HERE, "Bearer x")
    assert knowledge.is_permitted(HERE, "Bearer x")
    assert not knowledge.is_permitted(HERE, "Bearer y")
    assert not knowledge.is_permitted(HERE, None)
    knowledge.accepted(HERE, None)
    assert knowledge.is_permitted(HERE, None)
    assert knowledge.is_permitted(HERE, "Bearer y")
    knowledge.close()
