"""Where an origin registry is: its address from its name and the configuration, its mirrors, its names for things."""

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from dfdaemon.config import OriginConfig, RegistryConfig
from swarm.errors import NotAllowed

DOCKER_HUB = "docker.io"
DOCKER_HUB_HOST = "registry-1.docker.io"
"""Docker Hub's name is not its registry's host."""
PORTS = {"http": 80, "https": 443}

_GROUP = re.compile(r"\$(?:(\d)|\{(\d)\})")


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
    certificate_file: str = ""
    key_file: str = ""
    lends: bool = False
    """Clients without a credential of their own use this host's."""
    requests_per_s_max: float = 0.0
    connections_max: int = 0
    download_bytes_per_s_max: int = 0
    prefix: str = ""
    """What goes before the names of repositories."""
    rewrites: tuple[tuple[str, str], ...] = ()

    @property
    def base(self) -> str:
        """scheme://host[:port], without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def repository(self, name: str) -> str:
        """Return what a repository is called there."""
        for pattern, replacement in self.rewrites:
            if re.search(pattern, name):
                name = re.sub(pattern, replacement, name)
                break
        return f"{self.prefix}/{name}" if self.prefix else name


class Endpoints:
    """All registries that a daemon may reach."""

    def __init__(self, config: OriginConfig) -> None:
        self._any = config.allow_any_registry
        self._allowed = tuple(pattern.lower() for pattern in config.allowed_registries)
        self._listed = {entry.name: _listed(entry) for entry in config.registries}
        self._mirrors = {entry.name: self._mirrors_of(entry) for entry in config.registries if entry.mirrors}
        found = [*self._listed.values(), *(mirror for each in self._mirrors.values() for mirror in each)]
        self._places = frozenset((entry.host, entry.port) for entry in found)

    def of(self, registry: str) -> Endpoint:
        """Return the address of a registry; raises NotAllowed when clients may not reach it."""
        found = self._listed.get(registry)
        if found is not None:
            return found
        if not self._any and not any(fnmatchcase(registry, pattern) for pattern in self._allowed):
            raise NotAllowed(registry, "add it to origin.registries, or set origin.allow_any_registry = true")
        return _endpoint(registry, f"https://{_default_host(registry)}", listed=False)

    def mirrors(self, registry: str) -> tuple[Endpoint, ...]:
        """Return the addresses that are asked before the registry itself, in order."""
        return self._mirrors.get(registry, ())

    def is_listed(self, host: str, port: int) -> bool:
        """Tell whether an address is the very one of a listed registry, or of a mirror."""
        return (host, port) in self._places

    def _mirrors_of(self, entry: RegistryConfig) -> tuple[Endpoint, ...]:
        return tuple(self._mirror(url, self._listed[entry.name].rewrites) for url in entry.mirrors)

    def _mirror(self, url: str, rewrites: tuple[tuple[str, str], ...]) -> Endpoint:
        """Return a mirror; its TLS, account and limits are those of the listed registry at its address, if any."""
        parts = urlsplit(url)
        plain = _endpoint(parts.netloc.lower(), f"{parts.scheme}://{parts.netloc}", listed=True)
        place = plain.host, plain.port
        same = (own for own in self._listed.values() if (own.host, own.port) == place)
        return replace(next(same, plain), prefix=parts.path.strip("/"), rewrites=rewrites)


def _listed(entry: RegistryConfig) -> Endpoint:
    url = entry.url or f"https://{_default_host(entry.name)}"
    return replace(
        _endpoint(entry.name, url, listed=True),
        ca_file=entry.ca_file,
        verified=not entry.insecure_skip_verify,
        certificate_file=entry.certificate_file,
        key_file=entry.key_file,
        lends=entry.credentials_for_clients,
        requests_per_s_max=entry.requests_per_s_max,
        connections_max=entry.connections_max,
        download_bytes_per_s_max=entry.download_bytes_per_s_max,
        rewrites=tuple(_rewrite(text) for text in entry.rewrites),
    )


def _rewrite(text: str) -> tuple[str, str]:
    pattern, _, replacement = text.partition("=>")
    return pattern.strip(), _GROUP.sub(lambda found: rf"\g<{found[1] or found[2]}>", replacement.strip())


def _endpoint(registry: str, url: str, listed: bool) -> Endpoint:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise NotAllowed(registry, f"its address is malformed: {error}") from error
    if not host:
        raise NotAllowed(registry, "its address has no host")
    return Endpoint(registry, parts.scheme, host, port, listed)


def _default_host(registry: str) -> str:
    return DOCKER_HUB_HOST if registry == DOCKER_HUB else registry
