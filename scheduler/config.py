"""The settings of a scheduler. Every field is a key of the TOML file, a flag and an environment variable."""

from dataclasses import dataclass, replace

from swarm.addresses import is_loopback, parse_listen
from swarm.settings import require, setting

PIECES_PER_NEIGHBOUR = 16
"""A neighbour is worth its connections and its news only if enough pieces may come from it."""
NEIGHBOURS_MIN = 4
"""Below that a swarm falls apart when some of them are slow, or go."""


@dataclass(frozen=True, slots=True)
class PlacementConfig:
    """Who takes pieces from whom."""

    neighbours: int = setting(8, "Parents that a host gets for a task, as far as there are hosts.")
    remote_neighbours: int = setting(2, "How many more it gets in other zones, where there are zones.")
    parents_max: int = setting(32, "Parents of one host for a task in its own zone, rescues included.")

    def __post_init__(self) -> None:
        require(1 <= self.neighbours <= 64, "placement.neighbours", self.neighbours, "1 to 64")
        good = 0 <= self.remote_neighbours < self.neighbours
        require(good, "placement.remote_neighbours", self.remote_neighbours, "0 to neighbours - 1")
        require(
            self.neighbours <= self.parents_max <= 128,
            "placement.parents_max",
            self.parents_max,
            "neighbours to 128",
        )

    def for_pieces(self, count: int) -> "PlacementConfig":
        """Return what holds for a blob of `count` pieces, 0 if not known: with few pieces, fewer of everything."""
        neighbours = min(self.neighbours, max(NEIGHBOURS_MIN, count // PIECES_PER_NEIGHBOUR))
        if not count or neighbours == self.neighbours:
            return self
        parents_max = max(neighbours, self.parents_max * neighbours // self.neighbours)
        remote = min(self.remote_neighbours, neighbours - 1)
        return replace(self, neighbours=neighbours, remote_neighbours=remote, parents_max=parents_max)


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """Who fetches what from the origin."""

    timeout_s: float = setting(10.0, "Seconds without progress after which a lease goes to another host.")
    bytes_min: int = setting(16 << 20, "Smallest range of a lease, in bytes.")
    parts: int = setting(8, "A large blob is leased in ranges of this part, and smaller ones at its end.")
    connections: int = setting(6, "Leases at once for one registry to begin with.")
    connections_max: int = setting(16, "Most leases at once for one registry.")
    recovery_s: float = setting(
        3.0,
        "After a start, seconds in which rebuilt tasks get no new origin lease; up to 15 while hosts follow.",
    )

    def __post_init__(self) -> None:
        require(0.5 <= self.timeout_s <= 600, "lease.timeout_s", self.timeout_s, "0.5 to 600")
        require(self.bytes_min >= 1, "lease.bytes_min", self.bytes_min, "1 or more")
        require(1 <= self.parts <= 1024, "lease.parts", self.parts, "1 to 1024")
        good = 1 <= self.connections <= self.connections_max <= 256
        require(good, "lease.connections", self.connections, "1 to connections_max, which is at most 256")
        require(0 <= self.recovery_s <= 60, "lease.recovery_s", self.recovery_s, "0 to 60")


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """All settings of one dfscheduler."""

    listen: str = setting("127.0.0.1:4010", "Address on which daemons attach.")
    tls_listen: str = setting("", "Address on which daemons attach over TLS, beside `listen`; empty: none.")
    certificate_file: str = setting(
        "", "The scheduler's certificate (PEM) for tls_listen; read again when it changes."
    )
    key_file: str = setting("", "The key (PEM) of certificate_file; empty: it is in the same file.")
    ca_file: str = setting(
        "",
        "Certificates (PEM) of the authority that certifies daemons at tls_listen; empty: the token is enough.",
    )
    metrics_listen: str = setting("127.0.0.1:4011", "Address of /healthz, /readyz and /metrics.")
    token_file: str = setting("", "File with the cluster token that daemons must show.")
    insecure_no_token: bool = setting(False, "Take daemons beyond loopback without a cluster token.")
    seed_token_file: str = setting(
        "", "File with a token that hosts must show to count as seeds; empty: whoever says so is one."
    )
    admin_token_file: str = setting(
        "",
        "File with a token for denying, allowing and purging digests at metrics_listen; empty: from loopback only.",
    )
    denials_file: str = setting(
        "", "File that keeps denied digests beyond the scheduler's end; empty: only the daemons keep them."
    )
    tag_ttl_s: float = setting(10.0, "Seconds for which a tag means what a seed found out.")
    inline_cache_bytes: int = setting(64 << 20, "Memory for tiny blobs that travel through the scheduler.")
    log_format: str = setting("text", 'Form of log lines: "text" or "json".')
    log_level: str = setting("info", "Least severe level that is logged: debug, info, warning, error.")
    placement: PlacementConfig = setting(PlacementConfig, "Who takes pieces from whom.")
    lease: LeaseConfig = setting(LeaseConfig, "Who fetches what from the origin.")

    def __post_init__(self) -> None:
        for key, address in (("listen", self.listen), ("tls_listen", self.tls_listen)):
            loopback = not address or is_loopback(parse_listen(address, key)[0])
            require(
                bool(self.token_file) or self.insecure_no_token or loopback,
                key,
                address,
                "beyond loopback a cluster token is needed: set token_file, or insecure_no_token = true",
            )
        require(
            bool(self.certificate_file) or not self.tls_listen,
            "tls_listen",
            self.tls_listen,
            "with certificate_file; or empty",
        )
        require(0.1 <= self.tag_ttl_s <= 3600, "tag_ttl_s", self.tag_ttl_s, "0.1 to 3600")
        require(self.inline_cache_bytes >= 0, "inline_cache_bytes", self.inline_cache_bytes, "0 or more")
        require(self.log_format in ("text", "json"), "log_format", self.log_format, "text or json")
        levels = ("debug", "info", "warning", "error")
        require(self.log_level in levels, "log_level", self.log_level, ", ".join(levels))
