"""The hosts.toml of one registry, which containerd reads at every pull (containerd's docs/hosts.md).

The hosts are tried in the order of the file, then `server`, or without one the registry itself. Our mirror comes
first, and everything else stays as it is.
"""

from dataclasses import dataclass

from dfdaemon.install.marks import block
from dfdaemon.install.toml_text import Tree, headers, line_ended, parse, quoted
from swarm.errors import ConfigError

CAPABILITIES = ("pull", "resolve")
"""What the mirror does for containerd; a push goes to the registry itself."""
DIAL_TIMEOUT = "200ms"
"""Loopback answers or refuses within microseconds; a second would be felt at every pull of a broken node."""


@dataclass(frozen=True, slots=True)
class MirrorHost:
    """Our mirror as a host: its URL, and how long containerd may try to connect ("" where that is not understood)."""

    url: str
    dial_timeout: str = ""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a registry's folder that containerd uses as long as there is no hosts.toml, by name."""

    authorities: tuple[str, ...] = ()
    clients: tuple[tuple[str, str], ...] = ()

    @classmethod
    def among(cls, names: frozenset[str]) -> "Certificates":
        """Choose as containerd does: *.crt are authorities, *.cert with the *.key of its name are clients."""
        clients = (name for name in sorted(names) if name.endswith(".cert"))
        pairs = tuple((name, name.removesuffix(".cert") + ".key") for name in clients)
        return cls(tuple(sorted(name for name in names if name.endswith(".crt"))), pairs)


NO_CERTIFICATES = Certificates()


def has_mirror(text: str, url: str, path: str) -> bool:
    """Say whether containerd asks this mirror first; raises ConfigError."""
    return next(iter(_hosts(parse(text, path))), None) == url


def with_mirror(
    text: str, mirror: MirrorHost, path: str, certificates: Certificates = NO_CERTIFICATES
) -> str:
    """Return the text with our mirror as first host; raises ConfigError when that cannot be done.

    A file without text gets what containerd has found beside it until now: certificates.
    """
    tree = parse(text, path)
    hosts = _hosts(tree)
    if next(iter(hosts), None) == mirror.url:
        return text
    if mirror.url in hosts:
        raise ConfigError(
            f"{path} names {mirror.url}, but not as its first host: put it first, or take it out"
        )
    found = certificates if not text else NO_CERTIFICATES
    ours = block([*_certificate_lines(found), *_host_lines(mirror)])
    for offset in (*(header.start for header in headers(text)), len(text)):
        before = line_ended(text[:offset])
        changed = before + ours + text[offset:]
        if _is_wanted(changed, tree, mirror, found):
            return changed
    raise ConfigError(f'{path} has a form that is not edited here: put [host."{mirror.url}"] first by hand')


def _hosts(tree: Tree) -> Tree:
    hosts = tree.get("host")
    return hosts if isinstance(hosts, dict) else {}


def _certificate_lines(certificates: Certificates) -> list[str]:
    lines = []
    if certificates.authorities:
        lines.append(f"ca = [{', '.join(map(quoted, certificates.authorities))}]")
    if certificates.clients:
        pairs = (f"[{quoted(certificate)}, {quoted(key)}]" for certificate, key in certificates.clients)
        lines.append(f"client = [{', '.join(pairs)}]")
    return [*lines, ""] if lines else []


def _host_lines(mirror: MirrorHost) -> list[str]:
    lines = [
        f"[host.{quoted(mirror.url)}]",
        f"  capabilities = [{', '.join(map(quoted, CAPABILITIES))}]",
    ]
    return [*lines, f"  dial_timeout = {quoted(mirror.dial_timeout)}"] if mirror.dial_timeout else lines


def _is_wanted(changed: str, tree: Tree, mirror: MirrorHost, found: Certificates) -> bool:
    """Say whether the changed text has our host first, and everything else as before."""
    try:
        result = parse(changed, "")
    except ConfigError:
        return False
    hosts = result.pop("host", {})
    if next(iter(hosts), None) != mirror.url:
        return False
    del hosts[mirror.url]
    for key, values in (("ca", found.authorities), ("client", found.clients)):
        if values:
            result.pop(key, None)
    return hosts == _hosts(tree) and result == {key: value for key, value in tree.items() if key != "host"}
