"""Which addresses are reached past the HTTP proxies of the environment, as Go's clients read the same variables.

On a node containerd and we must agree: what one sends to a proxy inside the other's NO_PROXY shows the proxy a client's
credential. The rules are those that golang.org/x/net/http/httpproxy documents:

- `name` leads past the proxy to that host and all below it, `.name` and `*.name` to those below it only;
- an address, or a network in CIDR notation, to hosts that are written as such an address;
- `:port` after a name or an address (`[v6]:port`): on this port only;
- `*` to everything, and without any of these `localhost` and loopback addresses.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Name:
    """Hosts by name. `port` empty: any."""

    name: str
    port: str
    below_only: bool

    def matches(self, host: str, port: str) -> bool:
        """Tell whether this entry names a host."""
        here = host == self.name and not self.below_only
        return (here or host.endswith("." + self.name)) and self.port in ("", port)


class NoProxy:
    """What a NO_PROXY says. An entry that means nothing is passed over, as Go does."""

    def __init__(self, text: str) -> None:
        entries = [entry.strip().lower() for entry in text.split(",")]
        self._all = "*" in entries
        self._networks: list[Network] = []
        self._addresses: list[tuple[Address, str]] = []
        self._names: list[_Name] = []
        for entry in filter(None, entries):
            self._take(entry)

    def _take(self, entry: str) -> None:
        if "/" in entry:
            network = _network(entry)
            if network is not None:
                self._networks.append(network)
            return
        host, port = _split_port(entry)
        address = address_of(host.removeprefix("[").removesuffix("]"))
        if address is not None:
            self._addresses.append((address, port))
            return
        name = _ascii(host.removeprefix("*.").removeprefix("."))
        if name:
            self._names.append(_Name(name, port, below_only=host.startswith(("*.", "."))))

    def matches(self, host: str, port: int) -> bool:
        """Tell whether a host is reached without a proxy. `host` as in a URL, without brackets."""
        host, wanted = _ascii(host.lower()), str(port)
        address = address_of(host)
        if self._all or host == "localhost" or (address is not None and address.is_loopback):
            return True
        if address is None:
            return any(name.matches(host, wanted) for name in self._names)
        there = any(address == known and only in ("", wanted) for known, only in self._addresses)
        return there or any(address in network for network in self._networks)


def proxy_url(text: str) -> str:
    """Return a proxy's address as a URL: `proxy:3128` is one over http."""
    try:
        parts = urlsplit(text)
        if parts.scheme and parts.hostname:
            return text
    except ValueError:
        pass
    return f"http://{text}"


def address_of(host: str) -> Address | None:
    """Return the address that a host is written as, IPv4 inside IPv6 as IPv4; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return inner or address


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _split_port(entry: str) -> tuple[str, str]:
    """Cut `host:port`; an IPv6 address has its port after a bracket."""
    host, colon, port = entry.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return entry, ""
    return host, port


def _ascii(name: str) -> str:
    """Return a name as it is looked up; one that has no such form as it is."""
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return name
