"""Which registries a runtime is told to ask the mirror for."""

from collections.abc import Sequence

from dfdaemon.install.folders import DEFAULT
from dfdaemon.names import REGISTRY
from swarm.errors import BadName, ConfigError

REGISTRIES_MAX = 256
"""Registries named on one node; clusters use a handful."""
EVERY = "*"
"""All registries, in k3s's registries.yaml; accepted for containerd's `_default` too."""
BY_DEFAULT = {"containerd": DEFAULT, "crio": "docker.io", "docker": "docker.io", "k3s": EVERY}
"""What is mirrored when none is named: all, where the runtime has a word for it."""


def chosen(runtime: str, before: Sequence[str], named: Sequence[str]) -> tuple[str, ...]:
    """Return the registries to mirror: those of earlier calls, and the named ones or the default one.

    Raises BadName, or ConfigError when the runtime cannot mirror one.
    """
    wanted = [_checked(runtime, name) for name in named] or [BY_DEFAULT[runtime]]
    result = tuple(dict.fromkeys((*before, *wanted)))
    if len(result) > REGISTRIES_MAX:
        raise ConfigError(f"more than {REGISTRIES_MAX} registries on one node: mirror all of them instead")
    return result


def _checked(runtime: str, name: str) -> str:
    """Return the name as the runtime writes it."""
    if name in (EVERY, DEFAULT) and runtime in ("containerd", "k3s"):
        return BY_DEFAULT[runtime]
    if runtime == "docker" and name != "docker.io":
        raise ConfigError(
            f"Docker's registry-mirrors serve docker.io only: {name} cannot be mirrored for Docker"
        )
    registry = name.lower()
    if not REGISTRY.fullmatch(registry):
        raise BadName(name, "a registry is host or host:port, such as docker.io")
    return registry
