"""What `dfdaemon doctor` makes of what it saw on a node: findings, each with what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dfdaemon.install.containerd_config import CriSettings, Version
from dfdaemon.install.folders import DEFAULT, Root, of_registries, registry_of
from swarm.addresses import is_loopback

CLOCK_SKEW_MAX_S = 30.0
"""Registries' tokens are valid for 60 s or more from the second they were made in."""
READABLE_BY_OTHERS = 0o004
LEFT_SHARE_MIN = 0.1
"""Whoever renews certificates does so long before: cert-manager with a third of their life left."""

NOT_PERMITTED = "not-permitted"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `wrong`: pulls suffer from it; otherwise it is for information."""

    code: str
    wrong: bool
    what: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class ContainerdSeen:
    """A node's containerd as it is. `with_mirror` are the paths of hosts.toml files that name our mirror first."""

    settings: CriSettings
    version: Version | None
    roots: tuple[Root, ...]
    with_mirror: frozenset[str]


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """The disk of the store, in bytes."""

    directory: str
    total_bytes: int
    free_bytes: int
    quota_bytes: int
    free_bytes_min: int


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """An attempt to reach something; `error` is empty where it answered. `listens`: somebody is there.

    `is_ours`: nobody was asked, since this host's own settings or files do not let us.
    """

    address: str
    error: str = ""
    listens: bool = False
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class TokenSeen:
    """A file with a token: its mode, and why it cannot be used."""

    path: str
    mode: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """This node's certificate: since when and until when it counts (seconds since 1970), or why it cannot be used.

    `is_refused`: its files are in order, and another host would not take it.
    """

    path: str
    begins_s: float = 0.0
    ends_s: float = 0.0
    error: str = ""
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class DaemonSeen:
    """What the daemon on the control socket says; `error` where it says nothing."""

    socket: str
    version: str = ""
    attached: bool = False
    error: str = ""


def of_containerd(seen: ContainerdSeen) -> Iterator[Finding]:
    """Judge containerd's configuration."""
    found = seen.settings
    if found.disabled:
        yield Finding(
            "containerd-cri-disabled", False, f"{found.file} disables the CRI plugin: no kubelet pulls here"
        )
    elif found.mirrors:
        names = ", ".join(found.mirrors)
        yield Finding(
            "containerd-mirrors",
            True,
            f"{found.file} has the deprecated registry.mirrors ({names}), which win over every hosts.toml",
            "move them into hosts.toml files, then: dfdaemon configure containerd",
        )
    else:
        yield from _config_path(seen)
    yield from _shadows(seen)
    if found.discards_layers:
        yield Finding(
            "containerd-discards-layers",
            False,
            "discard_unpacked_layers is on: containerd keeps no layers. Damselfly serves from its own store, so this "
            "costs nothing but a pull through the daemon when an image is unpacked again",
        )


def _config_path(seen: ContainerdSeen) -> Iterator[Finding]:
    path = seen.settings.config_path
    if not seen.settings.roots:
        text = f"config_path is not set in {seen.settings.file}: containerd reads no hosts.toml"
        yield Finding("containerd-config-path", True, text, "dfdaemon configure containerd --restart")
    elif len(seen.settings.roots) > 1:
        broken = seen.settings.takes_one_directory(seen.version)
        effect = (
            "containerd 2.1 and later take it as one directory, and find nothing"
            if broken
            else "it works here"
        )
        yield Finding(
            "containerd-config-path-list",
            broken,
            f"config_path = {path!r} names several directories: {effect}",
            f"set it to {seen.settings.roots[0]} alone in {seen.settings.file}, with all folders there",
        )


def _shadows(seen: ContainerdSeen) -> Iterator[Finding]:
    default = [f"{root.path}/{DEFAULT}/hosts.toml" for root in seen.roots if DEFAULT in root.folders]
    folders = [folder for folder in of_registries(seen.roots) if folder.hosts_toml not in seen.with_mirror]
    if not seen.with_mirror and seen.settings.roots and not seen.settings.mirrors:
        text = "no hosts.toml names the mirror first: containerd pulls straight from the registries"
        yield Finding("containerd-not-configured", True, text, "dfdaemon configure containerd")
    elif default[:1] and default[0] in seen.with_mirror:
        for folder in folders:
            registry = registry_of(folder.name)
            yield Finding(
                "containerd-shadow",
                True,
                f"{folder.root}/{folder.name} goes before _default and does not name the mirror: {registry} is "
                "pulled past it",
                f"dfdaemon configure containerd --registry {registry}, or remove that folder if it is empty",
            )


def as_notes(found: Sequence[Finding], runtimes: Sequence[str]) -> Iterator[Finding]:
    """Turn what is wrong with containerd into notes, where other runtimes of the node were configured instead."""
    instead = (
        f"only if Kubernetes or nerdctl pull through containerd here, and not only {', '.join(runtimes)}"
    )
    for finding in found:
        yield (
            replace(finding, wrong=False, advice=f"{instead}: {finding.advice}") if finding.wrong else finding
        )


def of_mirror(seen: LinkSeen) -> Iterator[Finding]:
    """Judge whether clients reach the mirror."""
    if seen.error:
        text = f"the mirror at {seen.address} cannot be reached ({seen.error}): pulls go straight to the registries"
        yield Finding(
            "mirror-unreachable", True, text, "start dfdaemon, and look into its log if it does not stay"
        )


def of_schedulers(seen: Sequence[LinkSeen], daemon: DaemonSeen) -> Iterator[Finding]:
    """Judge the way to the scheduler."""
    if not seen:
        text = "no scheduler is configured: blobs come from the origin, once per node"
        yield Finding("scheduler-none", False, text, "set scheduler.addresses")
    for link in seen:
        if link.is_ours:
            text = f"the scheduler {link.address} cannot be asked from here: {link.error}"
            yield Finding(
                "scheduler-unreachable", True, text, "repair the setting, or the file that it names"
            )
        elif link.error:
            text = f"the scheduler {link.address} cannot be reached: {link.error}"
            start = "start dfscheduler there, and let the network pass it"
            compare = (
                "compare names and authorities in the certificates of both; its log says whom it refused"
            )
            yield Finding("scheduler-unreachable", True, text, compare if link.listens else start)
    if seen and not daemon.error and not daemon.attached and not all(link.error for link in seen):
        text = "the scheduler can be reached, but the daemon is not attached to it"
        yield Finding(
            "scheduler-not-attached",
            True,
            text,
            "compare the tokens of both; the log says why: scheduler_lost",
        )


def of_daemon(seen: DaemonSeen, own_version: str) -> Iterator[Finding]:
    """Judge the daemon that runs here."""
    if seen.error:
        text = f"no daemon answers at {seen.socket}: {seen.error}"
        yield Finding("daemon-silent", True, text, "start dfdaemon; run the doctor as the daemon's user")
    elif seen.version != own_version:
        text = f"the daemon that runs is {seen.version}, this program is {own_version}"
        yield Finding("version-mismatch", True, text, "restart dfdaemon, so that the installed version runs")


def of_clock(skew_s: float | None, source: str) -> Iterator[Finding]:
    """Judge this machine's clock against the Date of a registry's answer; None: nobody was asked, or answered."""
    if skew_s is None:
        text = "no registry could be asked for the time: the clock was not checked"
        yield Finding("clock-unknown", False, text)
    elif abs(skew_s) > CLOCK_SKEW_MAX_S:
        side = "ahead of" if skew_s > 0 else "behind"
        text = f"the clock is {abs(skew_s):.0f} s {side} that of {source}: tokens and certificates may be refused"
        yield Finding("clock-skew", True, text, "let chrony or systemd-timesyncd set the clock")


def of_disk(seen: DiskSeen) -> Iterator[Finding]:
    """Judge the room for blobs."""
    if seen.quota_bytes + seen.free_bytes_min > seen.total_bytes:
        text = (
            f"store.quota_bytes ({_gib(seen.quota_bytes)}) and store.free_bytes_min ({_gib(seen.free_bytes_min)}) are "
            f"more than the disk of {seen.directory} has ({_gib(seen.total_bytes)})"
        )
        advice = f"set store.quota_bytes below {_gib(max(seen.total_bytes - seen.free_bytes_min, 0))}"
        yield Finding("disk-quota", True, text, advice)
    if seen.free_bytes < seen.free_bytes_min:
        text = (
            f"the disk of {seen.directory} has {_gib(seen.free_bytes)} free, less than store.free_bytes_min "
            f"({_gib(seen.free_bytes_min)}): blobs are evicted, or stream without being stored"
        )
        yield Finding(
            "disk-full", True, text, "free the disk, or give the store another one: store.directory"
        )


def of_token(seen: TokenSeen) -> Iterator[Finding]:
    """Judge a file with a token that the scheduler is shown."""
    if seen.error:
        yield Finding("token-unusable", True, seen.error, "copy the token of the scheduler there, mode 0600")
    elif seen.mode & READABLE_BY_OTHERS:
        text = f"everybody on this machine can read the token in {seen.path} (mode {seen.mode:04o})"
        yield Finding("token-readable", True, text, f"chmod 600 {seen.path}")


def of_certificate(seen: CertificateSeen, now_s: float) -> Iterator[Finding]:
    """Judge the certificate that this node shows to other hosts."""
    left_s = seen.ends_s - now_s
    if seen.error:
        renew = "issue it anew, and compare the authority with that of other hosts: peer.ca_file"
        repair = "repair the files that the settings name; run the doctor as a user who may read them"
        yield Finding("certificate-unusable", True, seen.error, renew if seen.is_refused else repair)
    elif left_s < LEFT_SHARE_MIN * (seen.ends_s - seen.begins_s):
        text = f"{seen.path} counts for {_duration(left_s)} more: then no other host lets this node in"
        yield Finding("certificate-ends", False, text, "renew it; the daemon reads it again by itself")


def of_registry_files(errors: Sequence[str]) -> Iterator[Finding]:
    """Judge the files with which this host asks registries, by what is wrong with them."""
    for text in errors:
        yield Finding(
            "registry-file-unusable",
            True,
            text,
            "put the file there, such that dfdaemon's user may read it, or take the setting out",
        )


def of_addresses(advertised: Sequence[str], schedulers: Sequence[str]) -> Iterator[Finding]:
    """Judge whether other hosts can reach this one; both are host names or addresses, without ports."""
    elsewhere = [host for host in schedulers if not _is_here(host)]
    if elsewhere and all(_is_here(host) for host in advertised):
        text = (
            f"other hosts are told {', '.join(advertised) or 'no address'}, which only this machine can reach"
        )
        yield Finding("peer-loopback", True, text, 'set peer.listen = "0.0.0.0:4002", or peer.advertise')


def _is_here(host: str) -> bool:
    return is_loopback(host) or host.endswith(".localhost")


def of_changed_files(missing: Sequence[str], runtime: str) -> Iterator[Finding]:
    """Judge files that were configured, and from which our part has gone since."""
    for path in missing:
        text = f"{path} was configured for {runtime}, and our part is no longer in it: something has rewritten it"
        advice = f"dfdaemon configure {runtime}; if it happens again, let the tool that writes it leave the part in"
        yield Finding("configuration-lost", True, text, advice)


def of_restart(runtime: str) -> Iterator[Finding]:
    """Tell that a runtime was not made to read its files since they changed."""
    text = f"{runtime} has to read its configuration again since dfdaemon changed it: it may still run with the old one"
    advice = f"dfdaemon configure {runtime} --restart (or unconfigure), if nobody has restarted it by hand"
    yield Finding("restart-pending", False, text, advice)


def of_missing_rights(reason: str) -> Iterator[Finding]:
    """Tell what the doctor's user may not look at: nothing is known to be wrong with it."""
    yield Finding(NOT_PERMITTED, False, reason, "run the doctor as root")


def _duration(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
