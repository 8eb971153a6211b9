"""WWW-Authenticate headers as registries write them."""

import pytest

from dfdaemon.challenges import Challenge, bearer_challenge, parse_challenges


def test_docker_hub() -> None:
    header = (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:library/busybox:pull,push"'
    )
    assert bearer_challenge([header]) == Challenge(
        "bearer",
        {
            "realm": "https://auth.docker.io/token",
            "service": "registry.docker.io",
            "scope": "repository:library/busybox:pull,push",
        },
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="a"', 'Bearer realm="b"'], [("basic", "a"), ("bearer", "b")]),
        (['Basic realm="a", Bearer realm="b"'], [("basic", "a"), ("bearer", "b")]),
        (["bearer Realm=b"], [("bearer", "b")]),
        ([r'Bearer realm="a\"b\\c"'], [("bearer", r"a\"b\c".replace(r"\"", '"'))]),
        (['Bearer  realm = "a" , service=x'], [("bearer", "a")]),
        (["Negotiate"], [("negotiate", None)]),
        (['Negotiate, Basic realm="a"'], [("negotiate", None), ("basic", "a")]),
        (["", ",,,", "="], []),
    ],
)
def test_forms(headers: list[str], expected: list[tuple[str, str | None]]) -> None:
    found = parse_challenges(headers)
    assert [(entry.scheme, entry.parameters.get("realm")) for entry in found] == expected


@pytest.mark.parametrize(
    "header", ['Basic realm="a"', "Bearer", 'Bearer service="x"', 'Bearer realm=""', 'Bearer realm="open']
)
def test_no_bearer_challenge(header: str) -> None:
    assert bearer_challenge([header]) is None
