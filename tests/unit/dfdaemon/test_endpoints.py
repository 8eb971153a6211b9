"""Where a registry is, and which may be reached."""

import pytest

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.endpoints import Endpoints
from swarm.errors import NotAllowed

LISTED = OriginConfig(
    registries=(
        RegistryConfig(name="local", url="http://10.0.0.1:5000"),
        RegistryConfig(name="mine.io", ca_file="/ca.pem", insecure_skip_verify=True),
        RegistryConfig(name="six", url="https://[::1]"),
    )
)


@pytest.mark.parametrize(
    ("registry", "base", "listed"),
    [
        ("docker.io", "https://registry-1.docker.io", False),
        ("ghcr.io", "https://ghcr.io", False),
        ("host:5000", "https://host:5000", False),
        ("local", "http://10.0.0.1:5000", True),
        ("mine.io", "https://mine.io", True),
        ("six", "https://[::1]", True),
    ],
)
def test_addresses(registry: str, base: str, listed: bool) -> None:
    found = Endpoints(LISTED).of(registry)
    assert (found.base, found.listed) == (base, listed)


def test_tls_settings_come_from_the_listing() -> None:
    mine, other = Endpoints(LISTED).of("mine.io"), Endpoints(LISTED).of("other.io")
    assert (mine.ca_file, mine.verified) == ("/ca.pem", False)
    assert (other.ca_file, other.verified) == ("", True)


def test_only_the_very_address_is_listed() -> None:
    endpoints = Endpoints(LISTED)
    assert endpoints.is_listed("10.0.0.1", 5000)
    assert not endpoints.is_listed("10.0.0.1", 80)
    assert not endpoints.is_listed("10.0.0.2", 5000)


def test_unlisted_registries_may_be_forbidden() -> None:
    endpoints = Endpoints(OriginConfig(registries=LISTED.registries, allow_any_registry=False))
    assert endpoints.of("local").listed
    with pytest.raises(NotAllowed, match=r"origin\.registries"):
        endpoints.of("ghcr.io")


@pytest.mark.parametrize("registry", ["host:99999", "host:port"])
def test_malformed_addresses(registry: str) -> None:
    with pytest.raises(NotAllowed, match="malformed"):
        Endpoints(LISTED).of(registry)


def test_patterns_of_names_that_may_be_reached() -> None:
    endpoints = Endpoints(
        OriginConfig(allow_any_registry=False, allowed_registries=("*.Example.com", "quay.io"))
    )
    assert endpoints.of("eu.example.com").base == "https://eu.example.com"
    assert not endpoints.of("quay.io").listed
    for name in ("example.com", "example.com.evil.org", "cdn.quay.io"):
        with pytest.raises(NotAllowed):
            endpoints.of(name)


def test_mirrors_in_their_order_with_their_own_settings() -> None:
    harbor = RegistryConfig(name="harbor.test", url="https://harbor.test:8443", ca_file="/harbor.pem")
    hub = RegistryConfig(
        name="docker.io",
        ca_file="/hub.pem",
        mirrors=("https://Harbor.test:8443/hub/", "http://10.0.0.9:5000"),
    )
    endpoints = Endpoints(OriginConfig(registries=(hub, harbor)))
    first, second = endpoints.mirrors("docker.io")
    assert (first.base, first.ca_file) == ("https://harbor.test:8443", "/harbor.pem")
    assert first.repository("library/busybox") == "hub/library/busybox"
    assert (second.base, second.ca_file, second.registry) == ("http://10.0.0.9:5000", "", "10.0.0.9:5000")
    assert second.repository("library/busybox") == "library/busybox"
    assert endpoints.is_listed("10.0.0.9", 5000)
    assert endpoints.mirrors("ghcr.io") == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("library/busybox", "hub/busybox"), ("team/app", "mine/team-app"), ("x", "x")],
)
def test_the_first_rewrite_that_fits_counts(name: str, expected: str) -> None:
    rewrites = ("^library/(.*)$ => hub/$1", "^(.*)/(.*)$ => mine/${1}-$2", "^team.* => never")
    config = RegistryConfig(name="r", rewrites=rewrites)
    assert Endpoints(OriginConfig(registries=(config,))).of("r").repository(name) == expected
