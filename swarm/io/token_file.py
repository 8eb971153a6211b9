"""The cluster token: a secret that all processes of a cluster share, kept in a file."""

from pathlib import Path

from swarm.errors import ConfigError

TOKEN_BYTES_MIN = 16
"""A shorter token can be guessed from one recorded handshake."""
TOKEN_BYTES_MAX = 4096
"""A token is a line of text; a larger file is a mistake."""


def read_token(path: str, key: str = "token_file") -> bytes:
    """Read the token; no path gives an empty one. Raises ConfigError, never with the content."""
    if not path:
        return b""
    try:
        with Path(path).open("rb") as file:
            token = file.read(TOKEN_BYTES_MAX + 1).strip()
    except OSError as error:
        raise ConfigError(f"{key} = {path!r} cannot be read: {error.strerror}") from error
    if not TOKEN_BYTES_MIN <= len(token) <= TOKEN_BYTES_MAX:
        needs = f"{TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} bytes; make one with: openssl rand -hex 32"
        raise ConfigError(f"{key} = {path!r} holds a token of {len(token)} bytes, it needs {needs}")
    return token
