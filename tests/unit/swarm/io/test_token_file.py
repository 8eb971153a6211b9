from pathlib import Path

import pytest

from swarm.errors import ConfigError
from swarm.io.token_file import TOKEN_BYTES_MAX, read_token


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b" a-token-of-20-bytes\n")
    assert read_token(str(file)) == b"a-token-of-20-bytes"


def test_no_file_means_no_token() -> None:
    assert read_token("") == b""


@pytest.mark.parametrize("content", [b"", b"fifteen-bytes-x\n", b"x" * (TOKEN_BYTES_MAX + 1)])
def test_a_bad_token_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"peer.token_file = .*/token' holds .*openssl rand") as caught:
        read_token(str(file), "peer.token_file")
    assert "fifteen" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"token_file = .*nothing' cannot be read: No such file"):
        read_token(str(tmp_path / "nothing"))
