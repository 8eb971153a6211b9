"""What no configuration may say; its reading from files is tested in tests/unit/swarm/io."""

import pytest

from dfdaemon.config import FIRST_NODES, VERIFY, DaemonConfig, PeerConfig
from swarm.errors import ConfigError

BLAKE3 = PeerConfig(piece_digest="blake3")


def test_every_node_verifies_unless_something_else_is_asked_for() -> None:
    assert DaemonConfig().verify == "every-node"
    assert [DaemonConfig(verify=word, peer=BLAKE3).verify for word in VERIFY] == ["every-node", "first-nodes"]


def test_the_word_of_others_takes_piece_digests_that_cannot_be_forged() -> None:
    with pytest.raises(ConfigError, match=r'verify = .*xxh3 can be forged.*peer\.piece_digest = "blake3"'):
        DaemonConfig(verify=FIRST_NODES)


def test_verify_is_one_of_two_words() -> None:
    with pytest.raises(ConfigError, match="every-node or first-nodes"):
        DaemonConfig(verify="nobody", peer=BLAKE3)


@pytest.mark.parametrize("listen", ["127.0.0.1:4002", "[::1]:4002", "localhost:4002"])
def test_loopback_needs_no_cluster_token(listen: str) -> None:
    assert PeerConfig(listen=listen).listen == listen


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:4002", ":4002", "[::]:4002", "127.0.0.1.example:4002", "a.localhost:4002"]
)
def test_beyond_loopback_a_cluster_token_is_needed(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"peer\.listen.*a cluster token is needed"):
        PeerConfig(listen=listen)
    assert PeerConfig(listen=listen, token_file="/etc/damselfly/token").listen == listen


@pytest.mark.parametrize("listen", ["nonsense", "", "4002", "::1:4002"])
def test_what_is_no_address_is_called_so(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"peer\.listen = .* is not an address"):
        PeerConfig(listen=listen)
