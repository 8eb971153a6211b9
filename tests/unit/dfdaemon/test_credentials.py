"""Accounts as Docker and kubelet keep them."""

import base64
import json

import pytest

from dfdaemon.credentials import (
    CACHE_S_MAX,
    BadCredentials,
    Credential,
    DockerConfig,
    Provider,
    best,
    fits,
    place_of,
    read_docker_config,
    read_helper_answer,
    read_provided,
    read_providers,
)


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://Registry.Test:5000", "registry.test:5000"),
        ("http://registry.test/v2/", "registry.test"),
        ("registry.test/team", "registry.test/team"),
    ],
)
def test_places(text: str, place: str) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    ("place", "image", "expected"),
    [
        ("registry.test", "registry.test/a/b", True),
        ("registry.test", "other.test/a/b", False),
        ("registry.test", "registry.test:5000/a", False),
        ("registry.test:5000", "registry.test:5000/a", True),
        ("registry.test/team", "registry.test/team/app", True),
        ("registry.test/team", "registry.test/teams/app", False),
        ("*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com/a", True),
        ("*.azurecr.io", "a.b.azurecr.io/x", False),
        ("https://index.docker.io/v1/", "docker.io/library/busybox", True),
    ],
)
def test_what_lies_at_a_place(place: str, image: str, expected: bool) -> None:
    assert fits(place, image) is expected


def test_the_longest_place_counts() -> None:
    one, two = Credential("one", "1"), Credential("two", "2")
    accounts = {"registry.test": one, "registry.test/team": two}
    assert best(accounts, "registry.test/team/app") is two
    assert best(accounts, "registry.test/app") is one
    assert best(accounts, "other.test/app") is None


def test_a_schemes_letters_make_no_place_longer() -> None:
    hub, own = Credential("hub", "s"), Credential("own", "s")
    accounts = {"https://index.docker.io/v1/": hub, "docker.io/team": own}
    assert best(accounts, "docker.io/team/app") is own
    assert best(accounts, "docker.io/library/app") is hub


def test_a_config_of_docker() -> None:
    text = json.dumps(
        {
            "auths": {
                "https://index.docker.io/v1/": {"auth": coded("ann:se:cret")},
                "token.test": {"auth": coded("<token>:"), "identitytoken": "refresh"},
                "plain.test": {"username": "bob", "password": "pw"},
                "helped.test": {},
            },
            "credHelpers": {"ecr.test": "ecr-login"},
            "credsStore": "desktop",
        }
    )
    config = read_docker_config(text)
    assert config.account("docker.io/library/x") == Credential("ann", "se:cret")
    token = config.account("token.test/x")
    assert token is not None
    assert token.identity_token == "refresh"
    assert config.account("plain.test/x") == Credential("bob", "pw")
    assert config.account("helped.test/x") is None
    assert (config.helper("ecr.test"), config.helper("other.test")) == ("ecr-login", "desktop")
    assert read_docker_config("{}") == DockerConfig()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"auths": ["x"]}',
        '{"auths": {"r": "x"}}',
        '{"auths": {"r": {"auth": "%"}}}',
        '{"credsStore": "../../bin/x"}',
        '{"credHelpers": {"r": "a b"}}',
        json.dumps({"auths": {"r": {"auth": coded("no colon")}}}),
    ],
)
def test_what_is_no_config_of_docker_is_not_quoted(text: str) -> None:
    with pytest.raises(BadCredentials) as caught:
        read_docker_config(text)
    assert "no colon" not in str(caught.value)
    assert coded("no colon") not in str(caught.value)


def test_a_basic_header_and_no_secret_in_a_text() -> None:
    account = Credential("ann", "secret", "refresh")
    assert account.basic == f"Basic {coded('ann:secret')}"
    assert "secret" not in repr(account)
    assert "refresh" not in repr(account)


def test_answers_of_helpers() -> None:
    assert read_helper_answer('{"ServerURL":"r","Username":"u","Secret":"s"}') == Credential("u", "s")
    assert read_helper_answer('{"Username":"<token>","Secret":"s"}').identity_token == "s"
    for bad in ("", "credentials not found in native keychain", '{"Username":"u"}'):
        with pytest.raises(BadCredentials):
            read_helper_answer(bad)


PROVIDERS = """
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecr-credential-provider
    matchImages: ["*.dkr.ecr.*.amazonaws.com"]
    defaultCacheDuration: 12h
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [get-credentials]
    env: [{name: AWS_PROFILE, value: nodes}]
"""
IMAGE = "1.dkr.ecr.eu.amazonaws.com/app"


def provider() -> Provider:
    (found,) = read_providers(PROVIDERS)
    return found


def test_plugins_of_kubelet() -> None:
    found = provider()
    assert (found.name, found.cache_s, found.arguments) == (
        "ecr-credential-provider",
        12 * 3600.0,
        ("get-credentials",),
    )
    assert found.environment == (("AWS_PROFILE", "nodes"),)
    assert found.knows(IMAGE)
    assert not found.knows("docker.io/library/x")
    assert json.loads(found.request(IMAGE)) == {
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "kind": "CredentialProviderRequest",
        "image": IMAGE,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kind: Other",
        "{kind: CredentialProviderConfig, providers: {}}",
        PROVIDERS.replace("ecr-credential-provider", "../sh"),
        PROVIDERS.replace("credentialprovider.kubelet.k8s.io/v1", "v9"),
        PROVIDERS.replace("12h", "soon"),
        "a: [",
    ],
)
def test_what_is_no_config_of_plugins(text: str) -> None:
    with pytest.raises(BadCredentials):
        read_providers(text)


def answer(**change: object) -> str:
    whole = {
        "kind": "CredentialProviderResponse",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Registry",
        "cacheDuration": "1h30m",
        "auth": {"*.dkr.ecr.eu.amazonaws.com": {"username": "AWS", "password": "s"}},
    }
    return json.dumps(whole | change)


@pytest.mark.parametrize(
    ("kind", "key"), [("Image", IMAGE), ("Registry", "1.dkr.ecr.eu.amazonaws.com"), ("Global", "")]
)
def test_for_what_an_answer_counts(kind: str, key: str) -> None:
    found = read_provided(answer(cacheKeyType=kind), provider(), IMAGE)
    assert (found.key, found.seconds) == (key, 5400.0)
    assert best(found.accounts, IMAGE) == Credential("AWS", "s")


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [(None, 12 * 3600.0), ("0", 0.0), ("0s", 0.0), ("90s", 90.0), ("999h", CACHE_S_MAX)],
)
def test_how_long_an_answer_counts(duration: str | None, seconds: float) -> None:
    assert read_provided(answer(cacheDuration=duration), provider(), IMAGE).seconds == seconds


@pytest.mark.parametrize(
    "change", [{"kind": "X"}, {"cacheKeyType": "Pod"}, {"cacheDuration": "x"}, {"auth": []}]
)
def test_what_is_no_answer(change: dict[str, object]) -> None:
    if change == {"auth": []}:
        assert read_provided(answer(auth=None), provider(), IMAGE).accounts == {}
        change = {"auth": ["x"]}
    with pytest.raises(BadCredentials):
        read_provided(answer(**change), provider(), IMAGE)
