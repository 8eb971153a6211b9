"""Where an origin registry is: its address from its name and the configuration."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from dfdaemon.config import OriginConfig, RegistryConfig
from swarm.errors import NotAllowed

DOCKER_HUB = "docker.io"
DOCKER_HUB_HOST = "registry-1.docker.io"
"""Docker Hub's name is not its registry's host."""
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of one registry. `listed`: the configuration names it, so it may be private."""

    registry: str
    scheme: str
    host: str
    port: int
    listed: bool
    ca_file: str = ""
    verified: bool = True

    @property
    def base(self) -> str:
        """scheme://host[:port], without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


class Endpoints:
    """All registries that a daemon may reach."""

    def __init__(self, config: OriginConfig) -> None:
        self._any = config.allow_any_registry
        self._listed = {entry.name: _listed(entry) for entry in config.registries}
        self._places = frozenset((entry.host, entry.port) for entry in self._listed.values())

    def of(self, registry: str) -> Endpoint:
        """Return the address of a registry; raises NotAllowed when clients may not reach it."""
        found = self._listed.get(registry)
        if found is not None:
            return found
        if not self._any:
            raise NotAllowed(registry, "add it to origin.registries, or set origin.allow_any_registry = true")
        return _endpoint(registry, f"https://{_default_host(registry)}", listed=False)

    def is_listed(self, host: str, port: int) -> bool:
        """Tell whether an address is the very one of a listed registry."""
        return (host, port) in self._places


def _listed(entry: RegistryConfig) -> Endpoint:
    url = entry.url or f"https://{_default_host(entry.name)}"
    return _endpoint(entry.name, url, True, entry.ca_file, not entry.insecure_skip_verify)


def _endpoint(registry: str, url: str, listed: bool, ca_file: str = "", verified: bool = True) -> Endpoint:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise NotAllowed(registry, f"its address is malformed: {error}") from error
    if not host:
        raise NotAllowed(registry, "its address has no host")
    return Endpoint(registry, parts.scheme, host, port, listed, ca_file, verified)


def _default_host(registry: str) -> str:
    return DOCKER_HUB_HOST if registry == DOCKER_HUB else registry
