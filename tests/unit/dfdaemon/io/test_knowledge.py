"""What is told to the cluster, in how few messages, and what is never told."""

from dfdaemon.accept import WHOLE
from dfdaemon.io.knowledge import REPORT_MEMBERS_MAX, Knowledge
from dfdaemon.permissions import ANONYMOUS, PUBLIC_TTL_S, KnownTag, Member, Place
from swarm.digest import Digest
from swarm.errors import OriginStatus
from swarm.repositories import RepositoryAnswer, RepositoryReport
from tests.support.plain_blobs import PlainCluster

HERE, THERE = Place("r.test", "one"), Place("r.test", "two")


def digests(count: int) -> list[Digest]:
    return [Digest.of(str(number).encode()) for number in range(count)]


async def test_the_findings_of_a_pull_are_one_message() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    listed = digests(12)
    for digest in (*listed, *listed):
        knowledge.listed(HERE, digest, "blob", Member(1, "", True))
    knowledge.published(HERE)
    knowledge.listed(THERE, listed[0], "blob", Member(1, "", True))
    assert cluster.repositories == []
    knowledge.close()
    assert cluster.repositories == [
        RepositoryReport(*HERE, True, tuple(digest.task for digest in listed), (1,) * 12),
        RepositoryReport(*THERE, False, (listed[0].task,), (1,)),
    ]
    knowledge.close()
    assert len(cluster.repositories) == 2


async def test_a_size_that_was_only_read_is_not_told() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    knowledge.listed(HERE, digests(1)[0], "blob", Member(1, "", False))
    knowledge.close()
    assert cluster.repositories == []


async def test_a_report_is_bounded() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    for digest in digests(REPORT_MEMBERS_MAX + 5):
        knowledge.listed(HERE, digest, "blob", Member(1, "", True))
    knowledge.close()
    assert [len(report.members) for report in cluster.repositories] == [REPORT_MEMBERS_MAX]


async def test_a_tag_is_told_at_once_and_its_digest_belongs() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    (digest,) = digests(1)
    knowledge.resolved(HERE, "v1", KnownTag(digest, -1, "a/b"), WHOLE)
    (report,) = cluster.tags
    assert (report.tag, report.digest, report.size) == ("v1", digest.task, 0)
    member = knowledge.tables.member(HERE, digest, "manifest")
    assert member is not None
    assert member.proven
    assert member.vouches
    knowledge.close()
    (told,) = cluster.repositories
    assert (told.members, told.sizes, told.manifest_types) == ((digest.task,), (-1,), ("a/b",))


async def test_what_a_registry_chose_for_a_client_does_not_vouch_for_what_it_lists() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    (digest,) = digests(1)
    knowledge.resolved(HERE, "v1", KnownTag(digest, 5, "a/b"), "other")
    assert knowledge.tables.member(HERE, digest, "manifest") == Member(5, "a/b", True)
    knowledge.close()
    assert not cluster.tags, "nor is it what the tag means to others"


async def test_a_manifest_without_a_type_is_not_told_as_others_would_take_it_for_a_blob() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    knowledge.listed(HERE, digests(1)[0], "manifest", Member(1, "", True))
    knowledge.close()
    assert cluster.repositories == []


async def test_what_is_told_as_both_keeps_its_type() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    (digest,) = digests(1)
    knowledge.listed(HERE, digest, "manifest", Member(1, "a/b", True))
    knowledge.listed(HERE, digest, "blob", Member(1, "", True))
    knowledge.close()
    assert [report.manifest_types for report in cluster.repositories] == [("a/b",)]


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


async def test_a_stranger_who_is_refused_closes_the_repository_for_all() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    knowledge.published(HERE)
    knowledge.refused(HERE, None, OriginStatus(401, "r.test/one"))
    assert not knowledge.was_permitted(HERE, None)
    knowledge.refused(THERE, None, OriginStatus(401, "r.test/two"))
    knowledge.close()
    assert cluster.repositories == [RepositoryReport(*place, False, closed=True) for place in (HERE, THERE)]


async def test_a_credential_that_is_refused_loses_what_it_had() -> None:
    knowledge = Knowledge(PlainCluster())
    knowledge.accepted(HERE, "Bearer x")
    knowledge.refused(HERE, "Bearer x", OriginStatus(403, "r.test/one"))
    assert not knowledge.is_permitted(HERE, "Bearer x")
    assert not knowledge.was_permitted(HERE, "Bearer x"), "not in an outage either"
    refusal = knowledge.refusal(HERE, "Bearer x")
    assert refusal is not None
    assert refusal.status == 403
    assert knowledge.refusal(HERE, "Bearer y") is None
    knowledge.accepted(HERE, "Bearer x")
    assert knowledge.refusal(HERE, "Bearer x") is None


async def test_what_the_cluster_knows_is_as_old_as_it_says() -> None:
    knowledge = Knowledge(PlainCluster())
    (digest,) = digests(1)
    knowledge.learn(
        HERE, digest, RepositoryAnswer(1, True, size=7, member=True, public_age_s=PUBLIC_TTL_S - 1)
    )
    assert knowledge.is_permitted(HERE, None)
    assert knowledge.tables.member(HERE, digest, "blob") == Member(7, "", True)
    assert knowledge.tables.member(HERE, digest, "manifest") is None, "nobody said that it is one"
    knowledge.learn(HERE, digest, RepositoryAnswer(1, True, "", "a/b", 7, member=True))
    assert knowledge.tables.member(HERE, digest, "manifest") == Member(7, "a/b", True)
    knowledge.learn(THERE, digest, RepositoryAnswer(1, True, public_age_s=PUBLIC_TTL_S + 1))
    assert not knowledge.is_permitted(THERE, None)
    assert knowledge.was_permitted(THERE, None), "in an outage it counts"
    assert knowledge.tables.member(THERE, digest, "blob") is None


async def test_what_was_not_proven_is_told_so_that_nobody_waits() -> None:
    cluster = PlainCluster()
    knowledge = Knowledge(cluster)
    (digest,) = digests(1)
    for _ in range(2):
        knowledge.unproven(HERE, digest)
    knowledge.close()
    assert cluster.repositories == [RepositoryReport(*HERE, False, unproven=(digest.task,))]
