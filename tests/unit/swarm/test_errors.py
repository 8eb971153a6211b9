import copy
import pickle
import re

import pytest

from swarm import errors

BLAMED = (
    errors.ClientError,
    errors.PeerError,
    errors.OriginError,
    errors.SchedulerError,
    errors.OurselvesError,
)
EXAMPLES = [
    (errors.BadDigest("md5:0", "unknown"), "malformed digest 'md5:0': unknown"),
    (errors.BadName("A/b", "upper case"), "malformed name 'A/b': upper case"),
    (errors.BadRange("bytes=9-", 5), "range 'bytes=9-' lies outside a blob of 5 bytes"),
    (errors.NotAllowed("10.0.0.1", "private"), "10.0.0.1 may not be reached through this mirror: private"),
    (errors.ContentDenied("sha256:0"), "sha256:0 is denied by an administrator of this cluster"),
    (errors.OriginStatus(404, "r/x"), "the origin answered 404 to r/x"),
    (errors.OriginThrottled(429, "r/x", 2.5), "the origin answered 429 to r/x: wait 2.5 s"),
]


def all_errors(of: type[BaseException] = errors.DamselflyError) -> list[type[BaseException]]:
    return [kind for sub in of.__subclasses__() for kind in (sub, *all_errors(sub))]


def of_the_tree() -> list[type[BaseException]]:
    return [kind for kind in all_errors() if kind.__module__ == "swarm.errors"]


@pytest.mark.parametrize("kind", of_the_tree(), ids=lambda kind: kind.__name__)
def test_every_error_blames_exactly_one(kind: type[BaseException]) -> None:
    assert sum(issubclass(kind, blamed) for blamed in BLAMED) == 1


@pytest.mark.parametrize(("error", "text"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_says_what_happened_to_what(error: errors.DamselflyError, text: str) -> None:
    assert str(error) == text
    assert text in repr(error) or type(error).__name__ in repr(error)


@pytest.mark.parametrize(("error", "text"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_can_be_raised_twice_and_keeps_its_data(error: errors.DamselflyError, text: str) -> None:
    for _ in range(2):
        with pytest.raises(type(error), match=re.escape(text)):
            raise error
    assert str(copy.copy(error)) == text
    assert hash(error) == hash(error), "tracebacks and context managers put errors into sets"
    assert str(pickle.loads(pickle.dumps(error))) == text


def test_every_error_is_drawn_in_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = set(errors.__doc__.replace("─", " ").split())
    assert {kind.__name__ for kind in of_the_tree()} <= drawn
