"""Files with certificates and keys, as settings name them."""

from pathlib import Path

from swarm.errors import ConfigError

PEM_BYTES_MAX = 1 << 20
"""A larger file is a mistake: the public authorities of all browsers together have a quarter of that."""


def read_pem(path: str, key: str) -> bytes:
    """Read a file that the setting `key` names. Raises ConfigError, never with the content."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{key} = {path!r} cannot be read: {error.strerror}") from error
    if len(content) > PEM_BYTES_MAX or b"-----BEGIN " not in content:
        raise ConfigError(f"{key} = {path!r} is no PEM file: it begins no certificate and no key")
    return content


def no_password() -> str:
    """Keep OpenSSL from asking a terminal for the password of a key."""
    raise ValueError("its key has a password")
