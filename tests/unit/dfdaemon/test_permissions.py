"""Tables of who may read what."""

import pytest

from dfdaemon import permissions
from dfdaemon.accept import WHOLE
from dfdaemon.permissions import (
    ANONYMOUS,
    CREDENTIAL_TTL_S,
    DOWN_S,
    FORMS_MAX,
    OUTAGE_S,
    PUBLIC_TTL_S,
    REFUSED_TTL_S,
    CredentialHash,
    KnownTag,
    Member,
    Permissions,
    Place,
)
from swarm.digest import Digest
from swarm.errors import (
    OriginError,
    OriginStatus,
    OriginThrottled,
    OriginTimeout,
    OriginUnreachable,
    TokenUnreachable,
)

HERE, THERE = Place("a.io", "one"), Place("a.io", "two")
ANN, BOB = CredentialHash(b"ann"), CredentialHash(b"bob")
BLOB = Digest.of(b"blob")


def test_a_credential_is_accepted_here_and_for_a_while() -> None:
    tables = Permissions()
    tables.accept(HERE, ANN, 100.0)
    assert tables.accepted(HERE, ANN, 100.0 + CREDENTIAL_TTL_S - 0.1)
    assert not tables.accepted(HERE, ANN, 100.0 + CREDENTIAL_TTL_S)
    assert not tables.accepted(HERE, BOB, 100.0)
    assert not tables.accepted(THERE, ANN, 100.0)


def test_public_is_news_once_in_a_while() -> None:
    tables = Permissions()
    assert tables.publish(HERE, 0.0)
    assert not tables.publish(HERE, 1.0)
    assert tables.is_public(HERE, PUBLIC_TTL_S)
    assert not tables.is_public(HERE, PUBLIC_TTL_S + 1.0)
    assert tables.was_public(HERE)
    assert tables.publish(HERE, PUBLIC_TTL_S + 1.0)
    assert not tables.was_public(THERE)


def test_a_repository_that_was_closed_is_not_public() -> None:
    tables = Permissions()
    tables.publish(HERE, 0.0)
    tables.close(HERE)
    tables.close(THERE)
    assert not tables.is_public(HERE, 0.0)
    assert not tables.was_public(HERE)


def test_a_probe_once_in_a_while_and_never_where_it_is_public() -> None:
    tables = Permissions()
    assert tables.may_probe(HERE, 0.0)
    assert not tables.may_probe(HERE, PUBLIC_TTL_S - 1.0)
    assert tables.may_probe(HERE, PUBLIC_TTL_S)
    tables.publish(THERE, 0.0)
    assert not tables.may_probe(THERE, 1.0)


def test_a_proof_is_never_weakened_and_knowledge_adds_up() -> None:
    tables = Permissions()
    assert not tables.add_member(HERE, BLOB, "blob", Member(5, "a/b", False))
    assert tables.add_member(HERE, BLOB, "blob", Member(-1, "", True))
    assert not tables.add_member(HERE, BLOB, "blob", Member(5, "", False))
    assert tables.member(HERE, BLOB, "blob") == Member(5, "", True), "what was only claimed is no proof"
    assert tables.member(THERE, BLOB, "blob") is None


def test_a_blob_is_no_manifest_of_its_repository() -> None:
    tables = Permissions()
    assert tables.add_member(HERE, BLOB, "blob", Member(5, "", True))
    assert tables.member(HERE, BLOB, "manifest") is None
    assert tables.add_member(HERE, BLOB, "manifest", Member(5, "a/b", True)), "that is news too"


def test_the_media_type_is_that_of_the_best_proof() -> None:
    tables = Permissions()
    for media_type, proven, vouches in (
        ("a/claim", False, False),
        ("a/head", True, False),
        ("a/tag", True, True),
    ):
        tables.add_member(HERE, BLOB, "manifest", Member(5, media_type, proven, vouches))
        assert tables.member(HERE, BLOB, "manifest") == Member(5, media_type, proven, vouches)
    for worse in Member(-1, "a/head", True), Member(-1, "a/claim", False), Member(-1, "", True, True):
        assert not tables.add_member(HERE, BLOB, "manifest", worse)
        assert tables.member(HERE, BLOB, "manifest") == Member(5, "a/tag", True, True)


def test_tags() -> None:
    tables = Permissions()
    tables.set_tag(HERE, "v1", KnownTag(BLOB, 4, "a/b"))
    tables.set_tag(HERE, "v1", KnownTag(BLOB, 5, "a/b"))
    assert tables.tag(HERE, "v1") == KnownTag(BLOB, 5, "a/b")
    assert tables.tag(THERE, "v1") is None


def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "TAGS_MAX", 2)
    tables = Permissions()
    known = KnownTag(BLOB, 1, "")
    tables.set_tag(HERE, "one", known)
    tables.set_tag(HERE, "two", known)
    assert tables.tag(HERE, "one") is known
    tables.set_tag(HERE, "three", known)
    assert [tables.tag(HERE, name) is known for name in ("one", "two", "three")] == [True, False, True]


def test_what_the_cluster_proved_is_as_old_as_it_is() -> None:
    tables = Permissions()
    tables.publish(HERE, 1000.0, age_s=PUBLIC_TTL_S - 1)
    assert tables.is_public(HERE, 1000.0)
    assert not tables.is_public(HERE, 1001.0)
    tables.publish(HERE, 1000.0)
    tables.publish(HERE, 1000.0, age_s=PUBLIC_TTL_S)
    assert tables.is_public(HERE, 1001.0), "older news change nothing"


def test_a_refusal_is_repeated_for_a_moment_and_takes_the_permission() -> None:
    tables = Permissions()
    no = OriginStatus(403, "a.io/one")
    tables.accept(HERE, ANN, 100.0)
    tables.refuse(HERE, ANN, no, 101.0)
    assert not tables.accepted(HERE, ANN, 101.0)
    assert not tables.was_accepted(HERE, ANN, 101.0)
    assert tables.refusal(HERE, ANN, 101.0 + REFUSED_TTL_S - 0.1) is no
    assert tables.refusal(HERE, ANN, 101.0 + REFUSED_TTL_S) is None
    assert tables.refusal(HERE, BOB, 101.0) is None
    assert tables.refusal(THERE, ANN, 101.0) is None
    tables.accept(HERE, ANN, 102.0)
    assert tables.refusal(HERE, ANN, 102.0) is None
    tables.refuse(HERE, ANONYMOUS, no, 103.0)
    tables.publish(HERE, 103.0)
    assert tables.refusal(HERE, ANONYMOUS, 103.0) is None


def test_how_strangers_were_asked_is_remembered_for_an_outage() -> None:
    tables = Permissions()
    asked = OriginStatus(401, "a.io/one", ('Basic realm="a"',))
    tables.refuse(HERE, ANONYMOUS, asked, 100.0)
    assert tables.challenge(HERE, 100.0 + OUTAGE_S - 1) is asked
    assert tables.challenge(HERE, 100.0 + OUTAGE_S) is None
    assert tables.challenge(THERE, 100.0) is None
    tables.refuse(THERE, ANONYMOUS, OriginStatus(403, "a.io/two"), 100.0)
    assert tables.challenge(THERE, 100.0) is None


def test_a_credential_counts_for_longer_in_an_outage() -> None:
    tables = Permissions()
    tables.accept(HERE, ANN, 100.0)
    assert tables.was_accepted(HERE, ANN, 100.0 + OUTAGE_S - 0.1)
    assert not tables.was_accepted(HERE, ANN, 100.0 + OUTAGE_S)
    assert not tables.was_accepted(HERE, BOB, 100.0)


@pytest.mark.parametrize(
    ("error", "for_all"),
    [
        (OriginUnreachable("no route"), True),
        (OriginThrottled(503, "a.io/one", 60.0), True),
        (OriginStatus(500, "a.io/one"), False),
        (OriginTimeout("no answer"), False),
    ],
)
def test_an_origin_that_failed_is_down_for_a_moment(error: OriginError, for_all: bool) -> None:
    tables = Permissions()
    tables.fail(HERE, ANN, error, 100.0)
    for credential in ANN, BOB, ANONYMOUS:
        assert tables.failure(HERE, credential, 100.0 + DOWN_S - 0.1) is error
    assert tables.failure(HERE, ANN, 100.0 + DOWN_S) is None
    assert (tables.failure(THERE, BOB, 100.0) is error) is for_all
    assert tables.failure(Place("b.io", "one"), ANN, 100.0) is None


@pytest.mark.parametrize(
    ("error", "for_all"),
    [
        (OriginThrottled(429, "a.io/one", 60.0), True),
        (TokenUnreachable(OriginStatus(401, "a.io/one"), "no route"), False),
    ],
)
def test_who_is_told_to_wait_keeps_nobody_else_from_asking(error: OriginError, for_all: bool) -> None:
    tables = Permissions()
    tables.fail(HERE, ANN, error, 100.0)
    assert tables.failure(HERE, ANN, 100.0) is error
    assert (tables.failure(THERE, ANN, 100.0) is error) is for_all
    assert tables.failure(HERE, BOB, 100.0) is tables.failure(HERE, ANONYMOUS, 100.0) is None


def test_a_tag_means_to_each_what_it_was_told() -> None:
    tables = Permissions()
    index, image = (KnownTag(Digest.of(content), 5, "a/b") for content in (b"index", b"image"))
    tables.set_tag(HERE, "v1", index)
    tables.set_tag(HERE, "v1", image, "images")
    assert (tables.tag(HERE, "v1"), tables.tag(HERE, "v1", "images")) == (index, image)
    assert tables.tag(HERE, "v1", "other") is None
    assert tables.tags_of(HERE, image.digest) == ["v1"]
    tables.set_tag(HERE, "v1", index)
    assert tables.tag(HERE, "v1", "images") is image
    tables.set_tag(HERE, "v1", KnownTag(BLOB, 5, "a/b"))
    assert tables.tag(HERE, "v1", "images") is None, "the tag moved"


def test_forms_of_a_tag_are_bounded_and_the_one_for_all_stays() -> None:
    tables = Permissions()
    known = KnownTag(BLOB, 5, "a/b")
    for form in (WHOLE, *map(str, range(FORMS_MAX))):
        tables.set_tag(HERE, "v1", known, form)
    kept = [form for form in (WHOLE, *map(str, range(FORMS_MAX))) if tables.tag(HERE, "v1", form)]
    assert kept == [WHOLE, *map(str, range(1, FORMS_MAX))]


def test_what_is_withdrawn_is_forgotten() -> None:
    tables = Permissions()
    for place in HERE, THERE:
        tables.add_member(place, BLOB, "blob", Member(5, "a/b", True))
        for tag in "v1", "v2":
            tables.set_tag(place, tag, KnownTag(BLOB, 5, "a/b"))
    tables.set_tag(HERE, "v3", KnownTag(Digest.of(b"other"), 5, "a/b"))
    assert tables.tags_of(HERE, BLOB) == ["v1", "v2"]
    tables.drop_tag(HERE, "v1")
    assert tables.tags_of(HERE, BLOB) == ["v2"]
    tables.drop_member(BLOB)
    assert tables.member(HERE, BLOB, "blob") is None
    assert tables.member(THERE, BLOB, "blob") is None
