"""Who a host is, and where it can be reached."""

import socket

import pytest

from dfdaemon.config import DaemonConfig, PeerConfig
from dfdaemon.io.identity import host_info, parse_address
from swarm.errors import ConfigError
from swarm.messages import Address, Role


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:4002", Address("127.0.0.1", 4002)),
        ("[::1]:4002", Address("::1", 4002)),
        (":4002", Address("0.0.0.0", 4002)),
        ("node.example.com:1", Address("node.example.com", 1)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert parse_address(text, "peer.listen") == address


@pytest.mark.parametrize("text", ["4002", "host", "host:port", "host:70000", "::1:4002"])
def test_what_is_no_address_names_its_key(text: str) -> None:
    with pytest.raises(ConfigError, match=r"peer\.listen"):
        parse_address(text, "peer.listen")


def test_a_host_describes_itself_as_configured() -> None:
    config = DaemonConfig(host="node-7", zone="z", rack="r", seed=True, upload_bytes_per_s=10)
    info = host_info(config, Address("127.0.0.1", 4002), "1.0")
    assert (info.host, info.zone, info.rack, info.role) == ("node-7", "z", "r", Role.SEED)
    assert info.addresses == (Address("127.0.0.1", 4002),)
    assert info.upload_bytes_per_s == 10


def test_without_a_name_it_is_the_machines() -> None:
    assert host_info(DaemonConfig(), Address("127.0.0.1", 1), "1").host == socket.gethostname()


def test_what_is_advertised_goes_before_what_is_listened_on() -> None:
    config = DaemonConfig(peer=PeerConfig(advertise=("10.0.0.5:4002", "[fd00::5]:4002")))
    info = host_info(config, Address("127.0.0.1", 4002), "1")
    assert info.addresses == (Address("10.0.0.5", 4002), Address("fd00::5", 4002))


def test_nobody_is_told_to_connect_to_every_address() -> None:
    info = host_info(DaemonConfig(), Address("0.0.0.0", 4002), "1")
    hosts = {address.host for address in info.addresses}
    routed = hosts != {"0.0.0.0"}
    assert routed or len(info.addresses) == 1  # a machine without any route has nothing better to say
    assert all(address.port == 4002 for address in info.addresses)
