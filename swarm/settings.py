"""How a setting is declared: once, as a field of a frozen dataclass, with its help text.

A process's configuration nests such dataclasses; swarm/io/config_file.py fills them from a TOML file, the
environment and flags. A dataclass checks its own values in `__post_init__` with `require`.
"""

from dataclasses import field
from typing import Any

from swarm.errors import ConfigError


def setting(default: Any, text: str) -> Any:
    """Declare a setting with its default and one sentence of help; a callable default makes a fresh value."""
    if callable(default):
        return field(default_factory=default, metadata={"help": text})
    return field(default=default, metadata={"help": text})


def require(holds: bool, key: str, value: object, allowed: str) -> None:
    """Raise ConfigError naming the key, its value and what is allowed, unless the condition holds."""
    if not holds:
        raise ConfigError(f"{key} = {value!r} is not allowed: {allowed}")
