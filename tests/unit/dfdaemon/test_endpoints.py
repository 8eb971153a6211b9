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
