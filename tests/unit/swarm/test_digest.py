import hashlib

import pytest

from swarm.digest import HEX_DIGITS, Digest
from swarm.errors import BadDigest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_reads_as_it_is_written() -> None:
    digest = Digest.parse(EMPTY)
    assert (digest.algorithm, str(digest), digest.task) == ("sha256", EMPTY, EMPTY)


@pytest.mark.parametrize("algorithm", HEX_DIGITS)
def test_the_digest_of_content_is_hashlibs(algorithm: str) -> None:
    digest = Digest.of(b"layer", algorithm)
    assert digest.hex == hashlib.new(algorithm, b"layer").hexdigest()
    hasher = digest.hasher()
    hasher.update(b"layer")
    assert hasher.hexdigest() == digest.hex
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected algorithm:hex"),
        ("sha256", "expected algorithm:hex"),
        ("sha256:", "expected algorithm:hex"),
        (":" + "0" * 64, "expected algorithm:hex"),
        ("SHA256:" + "0" * 64, "expected algorithm:hex"),
        ("sha256:../../etc/passwd", "expected algorithm:hex"),
        ("sha256:" + "0" * 64 + "\n", "expected algorithm:hex"),
        ("sha256:" + "0" * 300, "expected algorithm:hex"),
        ("md5:" + "0" * 32, "algorithm must be one of sha256, sha512"),
        ("sha256:" + "0" * 63, "needs 64"),
        ("sha256:" + "A" * 64, "lower-case"),
        ("sha256:" + "g" * 64, "hexadecimal"),
        ("sha512:" + "0" * 64, "needs 128"),
    ],
)
def test_what_is_no_digest_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadDigest, match=reason) as refused:
        Digest.parse(text)
    assert refused.value.text == text[:80]


def test_digits_of_other_scripts_are_no_digest() -> None:
    with pytest.raises(BadDigest):
        Digest.parse("sha256:" + "\u0663" * 64)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_task_of_its_own_for_those_who_share_with_a_scope_only(algorithm: str) -> None:
    digest = Digest.of(b"layer", algorithm)
    assert digest.task_within("") == digest.task
    scoped = {digest.task_within(scope) for scope in ("a.example", "b.example")}
    scoped |= {Digest.of(b"other", algorithm).task_within("a.example")}
    assert len(scoped | {digest.task}) == 4
    assert all(Digest.parse(task).algorithm == algorithm for task in scoped), "it passes as a digest"
    assert digest.task_within("a.example") == digest.task_within("a.example")
