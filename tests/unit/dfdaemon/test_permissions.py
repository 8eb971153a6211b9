"""Tables of who may read what."""

import pytest

from dfdaemon import permissions
from dfdaemon.permissions import (
    CREDENTIAL_TTL_S,
    PUBLIC_TTL_S,
    CredentialHash,
    KnownTag,
    Member,
    Permissions,
    Place,
)
from swarm.digest import Digest

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
    assert not tables.add_member(HERE, BLOB, Member(5, "a/b", False))
    assert tables.add_member(HERE, BLOB, Member(-1, "", True))
    assert not tables.add_member(HERE, BLOB, Member(5, "", False))
    assert tables.member(HERE, BLOB) == Member(5, "a/b", True)
    assert tables.member(THERE, BLOB) is None


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
