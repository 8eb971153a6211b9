"""Which addresses are outside, and which names lead there."""

import asyncio

import pytest

from dfdaemon.io.origin_addresses import (
    Addresses,
    EnvironmentProxies,
    PublicResolver,
    SharedResolver,
    is_public,
)
from swarm.errors import NotAllowed
from tests.support.fake_origin import FakeResolver


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)
    Addresses().check_literal(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ],
)
def test_addresses_inside(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(NotAllowed):
        Addresses().check_literal(address)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0177.0.0.1", "1.2.3.4.5"])
def test_numbers_that_some_read_as_addresses(host: str) -> None:
    with pytest.raises(NotAllowed):
        Addresses().check_literal(host)


@pytest.mark.parametrize("host", ["registry.example.com", "1and1.com", "localhost"])
def test_names_are_judged_when_they_are_resolved(host: str) -> None:
    Addresses().check_literal(host)


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1"])
def test_networks_of_the_cluster_may_be_forbidden_too(address: str) -> None:
    addresses = Addresses(("8.8.0.0/16", "2606:4700::/32"))
    assert not addresses.is_outside(address)
    assert addresses.is_outside("8.9.8.8")
    with pytest.raises(NotAllowed, match="forbidden"):
        addresses.check_literal(address)


async def test_only_public_addresses_of_a_name_are_given_out() -> None:
    resolver = PublicResolver(
        FakeResolver(out_test=["8.8.8.8"], in_test=["10.0.0.1"], proxy_test=["10.0.0.2"]),
        frozenset({"proxy.test"}),
        Addresses(),
    )
    assert [entry["host"] for entry in await resolver.resolve("out.test", 443)] == ["8.8.8.8"]
    assert [entry["host"] for entry in await resolver.resolve("proxy.test", 443)] == ["10.0.0.2"]
    with pytest.raises(NotAllowed, match=r"in\.test"):
        await resolver.resolve("in.test", 443)
    with pytest.raises(OSError, match="no such name"):
        await resolver.resolve("none.test", 443)


async def test_a_name_service_that_does_not_answer() -> None:
    class Silent(FakeResolver):
        """Never answers."""

        async def resolve(self, *_: object) -> list[object]:  # type: ignore[override]
            await asyncio.Event().wait()
            return []

    with pytest.raises(OSError, match=r"slow\.test"):
        await SharedResolver(Silent(), 0.01).resolve("slow.test", 443)


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert EnvironmentProxies().url_for("https", "ghcr.io", 443) is None
    monkeypatch.setenv("https_proxy", "proxy.test:3128")
    monkeypatch.setenv("no_proxy", "*.inside.test, 203.0.113.0/24,r.test:5000")
    proxies = EnvironmentProxies()
    assert proxies.url_for("https", "ghcr.io", 443) == "http://proxy.test:3128"
    assert proxies.url_for("http", "ghcr.io", 80) is None
    assert proxies.url_for("https", "r.inside.test", 443) is None
    assert proxies.url_for("https", "r.test", 5000) is None
    assert proxies.url_for("https", "r.test", 443) == "http://proxy.test:3128"
    assert proxies.url_for("https", "203.0.113.7", 443) is None
    assert proxies.url_for("https", "203.0.114.7", 443) == "http://proxy.test:3128"
    assert proxies.url_for("https", "127.0.0.1", 5000) is None
    assert proxies.hosts == {"proxy.test"}
