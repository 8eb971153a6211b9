import pytest

from dfdaemon.config import OriginConfig, RegistryConfig
from dfdaemon.trust import Trust


@pytest.mark.parametrize(
    ("registry", "shares"),
    [
        ("docker.io", True),
        ("registry.example.com", True),
        ("tenants.example.com", False),
        ("evil.example", False),
        ("docker.io.evil.example", False),
        ("evil.docker.io", False),
        ("docker.io:444", False),
        ("Docker.io", False),
    ],
)
def test_listed_and_known_registries_share(registry: str, shares: bool) -> None:
    listed = (RegistryConfig("registry.example.com"), RegistryConfig("tenants.example.com", trusted=False))
    assert Trust(OriginConfig(registries=listed)).scope(registry) == ("" if shares else registry)


@pytest.mark.parametrize(
    ("patterns", "registry", "shares"),
    [
        (("*.pkg.dev",), "europe-docker.pkg.dev", True),
        (("*.pkg.dev",), "pkg.dev", False),
        (("*.pkg.dev",), "docker.io", False),
        (("*",), "anything.example:5000", True),
        ((), "docker.io", False),
    ],
)
def test_patterns_take_the_place_of_the_known_ones(
    patterns: tuple[str, ...], registry: str, shares: bool
) -> None:
    assert Trust(OriginConfig(trusted_registries=patterns)).scope(registry) == ("" if shares else registry)


def test_a_registrys_own_entry_goes_before_the_patterns() -> None:
    config = OriginConfig(registries=(RegistryConfig("quay.io", trusted=False),), trusted_registries=("*",))
    assert Trust(config).scope("quay.io") == "quay.io"
