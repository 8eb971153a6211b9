"""The settings of a daemon. Every field is a key of the TOML file, a flag and an environment variable."""

import re
from dataclasses import dataclass
from ipaddress import ip_network

from swarm.addresses import is_loopback, parse_listen
from swarm.frames import ZONE_BYTES_MAX
from swarm.settings import require, setting

MIB = 1 << 20
TRUSTED_REGISTRIES = (
    "docker.io",
    "ghcr.io",
    "quay.io",
    "registry.k8s.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "nvcr.io",
    "registry.access.redhat.com",
    "registry.redhat.io",
)
"""Public registries whose operators run them for everybody: no customer decides what they answer about a digest."""
EVERY_NODE, FIRST_NODES = VERIFY = ("every-node", "first-nodes")
"""Who computes the digest of a blob that is whole."""
TLS_MODES = ("off", "accept", "prefer", "require")


def is_network(text: str) -> bool:
    """Tell whether a text is an IP network in CIDR notation."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_rewrite(text: str) -> bool:
    """Tell whether a text is `PATTERN => NAME` with a regular expression."""
    pattern, arrow, name = text.partition("=>")
    try:
        re.compile(pattern.strip())
    except re.error:
        return False
    return bool(arrow and pattern.strip() and name.strip())


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """The registry mirror that containerd talks to."""

    listen: str = setting("127.0.0.1:4001", "Address of the registry mirror. Keep it on loopback.")
    default_registry: str = setting("docker.io", "Registry of requests that name none, as Docker's do.")
    ping_registry: bool = setting(
        False,
        "Let default_registry answer GET /v2/, so that Docker and skopeo log in there; off, the mirror does.",
    )
    stream: str = setting(
        "eager",
        'When clients get bytes: "eager" as pieces are verified, "after-digest" when the whole blob is.',
    )
    outage: str = setting(
        "allow-known",
        'If the origin cannot be asked: "allow-known" serves what was allowed before, "deny" nothing.',
    )
    tags: str = setting(
        "own",
        'Who asks the registry what a tag means: "own" this daemon, for each client; "shared" a seed, once per '
        "cluster and some seconds, where anybody may read the repository.",
    )
    connections_max: int = setting(1024, "Client connections at once; more are answered 503.")

    def __post_init__(self) -> None:
        require(
            self.stream in ("eager", "after-digest"), "mirror.stream", self.stream, "eager or after-digest"
        )
        require(self.tags in ("own", "shared"), "mirror.tags", self.tags, "own or shared")
        require(self.outage in ("allow-known", "deny"), "mirror.outage", self.outage, "allow-known or deny")
        require(
            1 <= self.connections_max <= 16384, "mirror.connections_max", self.connections_max, "1 to 16384"
        )


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """The peer wire: taking pieces from other hosts, and serving them."""

    listen: str = setting("127.0.0.1:4002", "Address on which other hosts take pieces.")
    advertise: tuple[str, ...] = setting(
        (), "Addresses (host:port) told to other hosts; empty: the listening one."
    )
    token_file: str = setting("", "File with the cluster token that peers prove to know.")
    insecure_no_token: bool = setting(False, "Serve peers beyond loopback without a cluster token.")
    tls: str = setting(
        "off",
        'TLS between hosts: "off"; "accept": taken beside plain connections, which are opened; "prefer": opened, '
        'plain ones still taken; "require". Go through them in this order, each on all hosts before the next.',
    )
    certificate_file: str = setting(
        "", "This host's certificate (PEM), which other hosts check; read again when it changes."
    )
    key_file: str = setting("", "The key (PEM) of peer.certificate_file; empty: it is in the same file.")
    ca_file: str = setting(
        "", "Certificates (PEM) of the authority that certifies the hosts of this cluster, and nobody else."
    )
    upload_slots: int = setting(5, "Uploads at once, while the host's rate is unknown.")
    download_slots: int = setting(5, "Requests to parents at once, for all blobs together.")
    children_max: int = setting(64, "Hosts that may be connected to take pieces; more are refused.")
    upload_bytes_per_s_max: int = setting(0, "Most bytes a second sent to other hosts; 0: no limit.")
    download_bytes_per_s_max: int = setting(
        0,
        "Most bytes a second taken from other hosts; 0: no limit. What comes from a registry is not counted here: "
        "see origin.registries.",
    )
    receive_threads: int = setting(
        2, "Threads that receive, hash and store what comes from hosts and registries."
    )
    congestion_control: str = setting(
        "",
        "TCP congestion control towards other hosts, such as cubic; empty: the system's.",
    )
    piece_digest: str = setting(
        "xxh3",
        'Piece digest, the same on every host of the cluster: "xxh3"; "blake3" where nodes are not trusted.',
    )

    def __post_init__(self) -> None:
        host, _ = parse_listen(self.listen, "peer.listen")
        require(
            bool(self.token_file) or self.insecure_no_token or is_loopback(host),
            "peer.listen",
            self.listen,
            "beyond loopback a cluster token is needed: set peer.token_file, or peer.insecure_no_token = true",
        )
        require(self.tls in TLS_MODES, "peer.tls", self.tls, ", ".join(TLS_MODES))
        require(
            self.tls == "off" or bool(self.certificate_file and self.ca_file),
            "peer.tls",
            self.tls,
            "with peer.certificate_file and peer.ca_file; or off",
        )
        require(1 <= self.upload_slots <= 64, "peer.upload_slots", self.upload_slots, "1 to 64")
        require(1 <= self.download_slots <= 64, "peer.download_slots", self.download_slots, "1 to 64")
        require(1 <= self.children_max <= 4096, "peer.children_max", self.children_max, "1 to 4096")
        up, down = self.upload_bytes_per_s_max, self.download_bytes_per_s_max
        require(up >= 0, "peer.upload_bytes_per_s_max", up, "0 or more")
        require(down >= 0, "peer.download_bytes_per_s_max", down, "0 or more")
        require(1 <= self.receive_threads <= 8, "peer.receive_threads", self.receive_threads, "1 to 8")
        require(
            self.piece_digest in ("xxh3", "blake3"), "peer.piece_digest", self.piece_digest, "xxh3 or blake3"
        )


@dataclass(frozen=True, slots=True)
class SchedulerLinkConfig:
    """Where the scheduler is."""

    addresses: tuple[str, ...] = setting(
        (), "Schedulers, host:port, tried in order; empty: work without one."
    )
    seed_token_file: str = setting(
        "",
        "File with the token that a seed shows instead of the cluster's, where the scheduler asks for one.",
    )
    tls: bool = setting(
        False,
        "Attach over TLS, to the scheduler's tls_listen. Its certificate must name the host of the address; ours is "
        "peer.certificate_file, if there is one.",
    )
    ca_file: str = setting(
        "", "Certificates (PEM) that the scheduler's is checked with; empty: those of peer.ca_file."
    )
    connect_timeout_s: float = setting(3.0, "Seconds to wait for a scheduler to take the stream.")
    retry_max_s: float = setting(5.0, "Longest pause between attempts to attach again.")

    def __post_init__(self) -> None:
        require(
            0.1 <= self.connect_timeout_s <= 60,
            "scheduler.connect_timeout_s",
            self.connect_timeout_s,
            "0.1 to 60",
        )
        require(0.1 <= self.retry_max_s <= 300, "scheduler.retry_max_s", self.retry_max_s, "0.1 to 300")


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """One origin registry, when its name alone does not say how to reach it."""

    name: str = setting("", "Name in image references, such as registry.example.com or docker.io.")
    url: str = setting("", "Where it is: https://host[:port]; empty: https://NAME.")
    ca_file: str = setting(
        "",
        "Certificates (PEM) to trust in addition to the system's: of an authority, an intermediate one, or its own.",
    )
    insecure_skip_verify: bool = setting(False, "Do not verify its TLS certificate.")
    certificate_file: str = setting("", "Our certificate (PEM), for a registry that wants one.")
    key_file: str = setting("", "The key (PEM) of certificate_file; empty: it is in the same file.")
    mirrors: tuple[str, ...] = setting(
        (), "Addresses that are asked before it, in order, for pulls: https://host[:port][/prefix]."
    )
    rewrites: tuple[str, ...] = setting(
        (),
        'Names of repositories there: "PATTERN => NAME", a regular expression and $1; the first that fits.',
    )
    username: str = setting("", "This host's account there.")
    password_file: str = setting("", "File with the account's password or token; read again when it changes.")
    credentials_for_clients: bool = setting(
        False, "Let everybody on this host pull with this host's account."
    )
    requests_per_s_max: float = setting(0.0, "Requests a second to it; 0: no limit.")
    connections_max: int = setting(0, "Connections to it at once; 0: no limit.")
    download_bytes_per_s_max: int = setting(
        0, "Most bytes a second of content taken from it by this host; 0: no limit."
    )
    trusted: bool = setting(
        True,
        "Believe it that a digest is in a repository, and share copies with the others that are believed. Set false "
        "where strangers decide what it answers, as with pull-through projects of their own.",
    )

    def __post_init__(self) -> None:
        require(bool(self.name), "registries.name", self.name, "a registry needs a name")
        for key, urls in (("url", (self.url,) if self.url else ()), ("mirrors", self.mirrors)):
            for url in urls:
                good = url.startswith(("https://", "http://")) and "@" not in url
                allowed = "https://host[:port] or http://host[:port]"
                require(good, f"registries.{self.name}.{key}", url, allowed)
        for text in self.rewrites:
            require(is_rewrite(text), f"registries.{self.name}.rewrites", text, '"PATTERN => NAME"')
        half = bool(self.username) != bool(self.password_file)
        require(
            not half, f"registries.{self.name}.username", self.username, "username and password_file together"
        )
        require(
            bool(self.certificate_file) or not self.key_file,
            f"registries.{self.name}.key_file",
            self.key_file,
            "a key needs its certificate_file",
        )
        require(
            self.requests_per_s_max >= 0,
            f"registries.{self.name}.requests_per_s_max",
            self.requests_per_s_max,
            "0 or more",
        )
        require(
            0 <= self.connections_max <= 1024,
            f"registries.{self.name}.connections_max",
            self.connections_max,
            "0 to 1024",
        )
        require(
            self.download_bytes_per_s_max >= 0,
            f"registries.{self.name}.download_bytes_per_s_max",
            self.download_bytes_per_s_max,
            "0 or more",
        )


@dataclass(frozen=True, slots=True)
class OriginConfig:
    """How the origin registries are asked."""

    registries: tuple[RegistryConfig, ...] = setting((), "Registries that need more than their name.")
    allow_any_registry: bool = setting(True, "Also reach any public registry that is not listed.")
    allowed_registries: tuple[str, ...] = setting(
        (), "Registries reached although not listed, if not any is: names, or patterns such as *.example.com."
    )
    forbidden_networks: tuple[str, ...] = setting(
        (), "Networks (CIDR) that only listed registries may be in, besides private ones: the cluster's own."
    )
    docker_config: str = setting(
        "", "A config.json of Docker with this host's accounts and credential helpers; read when it changes."
    )
    credential_provider_config: str = setting(
        "", "A CredentialProviderConfig of kubelet (YAML): plugins that give this host's accounts."
    )
    credential_provider_directory: str = setting("", "Folder of those plugins.")
    trusted_registries: tuple[str, ...] = setting(
        TRUSTED_REGISTRIES,
        "Registries beyond those listed, * for any characters, that share copies like listed ones. Each other one has "
        "copies of its own in the cluster.",
    )
    connect_timeout_s: float = setting(5.0, "Seconds for a connection to an origin.")
    read_timeout_s: float = setting(20.0, "Seconds of silence after which an origin's answer is given up.")
    retries: int = setting(3, "Attempts at one request before the origin counts as failed.")

    def __post_init__(self) -> None:
        require(
            0.1 <= self.connect_timeout_s <= 60,
            "origin.connect_timeout_s",
            self.connect_timeout_s,
            "0.1 to 60",
        )
        require(0.1 <= self.read_timeout_s <= 600, "origin.read_timeout_s", self.read_timeout_s, "0.1 to 600")
        require(1 <= self.retries <= 10, "origin.retries", self.retries, "1 to 10")
        for text in self.forbidden_networks:
            require(is_network(text), "origin.forbidden_networks", text, "networks such as 10.0.0.0/8")
        require(
            bool(self.credential_provider_config) == bool(self.credential_provider_directory),
            "origin.credential_provider_config",
            self.credential_provider_config,
            "together with origin.credential_provider_directory",
        )


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """The blobs on disk."""

    directory: str = setting("/var/lib/damselfly", "Folder of the blobs; the daemon owns all of it.")
    quota_bytes: int = setting(50 << 30, "Bytes that blobs may take before the least recently used go.")
    free_bytes_min: int = setting(1 << 30, "Bytes of the disk that are always left free.")
    ring_bytes: int = setting(32 * MIB, "Memory for a blob that finds no room on disk.")
    drop_pages: bool = setting(
        False,
        "Leave the page cache to others: a blob that no client reads any more, and that no host takes, is written to "
        "the disk and dropped from memory. Who asks for it next waits for the disk.",
    )

    def __post_init__(self) -> None:
        require(self.quota_bytes >= 0, "store.quota_bytes", self.quota_bytes, "0 or more")
        require(self.free_bytes_min >= 0, "store.free_bytes_min", self.free_bytes_min, "0 or more")
        require(
            self.ring_bytes >= 16 * MIB,
            "store.ring_bytes",
            self.ring_bytes,
            "at least 16 MiB: the largest piece",
        )


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """All settings of one dfdaemon."""

    host: str = setting(
        "", "Name of this host, no other in the cluster may have it; empty: the machine's host name."
    )
    zone: str = setting("", "Zone of this host: what hosts of one zone want comes into it once.")
    rack: str = setting("", "Rack of this host.")
    seed: bool = setting(False, "Whether this host is a seed: keeps more, preferred for leases.")
    upload_bytes_per_s: int = setting(0, "The host's uplink in bytes a second; 0: unknown.")
    download_bytes_per_s: int = setting(0, "The host's downlink in bytes a second; 0: unknown.")
    control_socket: str = setting("/run/damselfly/dfdaemon.sock", "Unix socket of dfget and dfctl.")
    metrics_listen: str = setting("127.0.0.1:4003", "Address of /healthz, /readyz and /metrics.")
    log_format: str = setting("text", 'Form of log lines: "text" or "json".')
    log_level: str = setting("info", "Least severe level that is logged: debug, info, warning, error.")
    stop_timeout_s: float = setting(10.0, "Seconds that uploads in progress get when the daemon stops.")
    verify: str = setting(
        "every-node",
        'Who computes the digest of a whole blob: "every-node"; "first-nodes", the first few that come, for all. '
        'That takes peer.piece_digest = "blake3".',
    )
    mirror: MirrorConfig = setting(MirrorConfig, "The registry mirror.")
    peer: PeerConfig = setting(PeerConfig, "The peer wire.")
    scheduler: SchedulerLinkConfig = setting(SchedulerLinkConfig, "The scheduler.")
    origin: OriginConfig = setting(OriginConfig, "The origin registries.")
    store: StoreConfig = setting(StoreConfig, "The blobs on disk.")

    def __post_init__(self) -> None:
        require(self.log_format in ("text", "json"), "log_format", self.log_format, "text or json")
        levels = ("debug", "info", "warning", "error")
        require(self.log_level in levels, "log_level", self.log_level, ", ".join(levels))
        good = len(self.zone.encode()) <= ZONE_BYTES_MAX and self.zone.isprintable()
        require(good, "zone", self.zone, f"printable, at most {ZONE_BYTES_MAX} bytes")
        require(0 <= self.stop_timeout_s <= 600, "stop_timeout_s", self.stop_timeout_s, "0 to 600")
        require(self.verify in VERIFY, "verify", self.verify, " or ".join(VERIFY))
        require(
            self.verify == EVERY_NODE or self.peer.piece_digest == "blake3",
            "verify",
            self.verify,
            'xxh3 can be forged, so it takes peer.piece_digest = "blake3"; or set every-node',
        )
        require(
            bool(self.scheduler.ca_file or self.peer.ca_file) or not self.scheduler.tls,
            "scheduler.tls",
            "true",
            "with scheduler.ca_file or peer.ca_file; or false",
        )
        require(self.upload_bytes_per_s >= 0, "upload_bytes_per_s", self.upload_bytes_per_s, "0 or more")
        require(
            self.download_bytes_per_s >= 0, "download_bytes_per_s", self.download_bytes_per_s, "0 or more"
        )
