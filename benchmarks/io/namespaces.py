"""Hosts on one machine: a network namespace each, joined by a bridge, each link shaped by the kernel both ways.

A host has eth0 with an address of its own; what leaves eth0 is its uplink, what leaves the bridge towards it its
downlink. Needs root, iproute2 and nsenter. Names begin with `dfb`, the process's id and a dash, so that runs side by
side do not meet.
"""

import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TypeVar

RUN = Path("/run/netns")
CLONE_NEWNET = 0x40000000
"""For setns(2), which Python has from 3.12 on."""
TBF_BURST_BYTES = 64 << 10
"""Of a link's token bucket: a segment of 64 KiB, as the kernel makes them, must fit several times."""
TBF_LATENCY_MS = 5
"""What waits before a link at most: about the buffer of a switch port."""
NETWORK = "10.77"
HOSTS_PER_BLOCK = 250
HOSTS_MAX = 2_500
"""More do not fit the addresses; nor this machine."""
TOOL_S_MAX = 30.0
"""A call of ip or tc takes milliseconds."""

T = TypeVar("T")


class NoNamespaces(Exception):
    """Namespaces cannot be made here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Place:
    """A host: its namespace, its address, and the command that starts a program there."""

    namespace: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command line begins with that shall run there."""
        return ("nsenter", f"--net={RUN / self.namespace}")


def require_namespaces() -> None:
    """Raise NoNamespaces where they cannot be made."""
    if os.geteuid() != 0:
        raise NoNamespaces("network namespaces and shaped links take root: run this command as root")
    missing = [program for program in ("ip", "tc", "nsenter") if which(program) is None]
    if missing:
        raise NoNamespaces(f"these programs are missing: {', '.join(missing)} (iproute2, util-linux)")


@contextmanager
def network(links: Mapping[str, int], congestion_control: str) -> Iterator[dict[str, Place]]:
    """Make a host for each name, with a link of so many bits a second both ways (0: not shaped), and enter the bridge.

    Inside the context this thread is in the bridge's namespace, from which all hosts can be reached. At its end,
    however it comes, every process that is still in one of the namespaces is killed, and the namespaces are removed.
    Raises NoNamespaces.
    """
    require_namespaces()
    assert len(links) <= HOSTS_MAX, "the addresses are given out"
    prefix = f"dfb{os.getpid()}-"
    bridge = f"{prefix}bridge"
    places = {name: Place(f"{prefix}{name}", _address(number)) for number, name in enumerate(links)}
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _make_bridge(bridge)
        for number, (name, bits_per_s) in enumerate(links.items()):
            _make_host(bridge, number, places[name], bits_per_s)
            in_namespace(places[name].namespace, lambda: _set_congestion_control(congestion_control))
        _enter(bridge)
        _pass_firewall()
        yield places
    finally:
        _setns(home)
        os.close(home)
        _remove(prefix)


def in_namespace(namespace: str, call: Callable[[], T]) -> T:
    """Return what `call` returns, made in a thread that is in the namespace: a socket made there stays there."""
    made: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            _enter(namespace)
            made.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def connected(client: Place, server: Place) -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection between two hosts: the client's and the server's."""
    listener = in_namespace(
        server.namespace, lambda: socket.create_server((server.address, 0), family=socket.AF_INET)
    )
    with listener:
        ours = in_namespace(client.namespace, lambda: socket.create_connection(listener.getsockname()))
        theirs, _ = listener.accept()
    return ours, theirs


def _address(number: int) -> str:
    return f"{NETWORK}.{1 + number // HOSTS_PER_BLOCK}.{1 + number % HOSTS_PER_BLOCK}"


def _make_bridge(bridge: str) -> None:
    _run("ip", "netns", "add", bridge)
    _ip(
        bridge,
        f"link set lo up\nlink add br0 type bridge\nlink set br0 up\naddress add {NETWORK}.0.1/16 dev br0\n",
    )


def _pass_firewall() -> None:
    """Let frames cross this thread's bridges without a visit to the firewall: it is most of what a bridge costs."""
    for switch in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
        switch.write_text("0")


def _make_host(bridge: str, number: int, place: Place, bits_per_s: int) -> None:
    port = f"port{number}"
    _run("ip", "netns", "add", place.namespace)
    _ip(
        bridge,
        f"link add {port} type veth peer name eth0 netns {place.namespace}\n"
        f"link set {port} master br0\nlink set {port} up\n",
    )
    _ip(
        place.namespace,
        f"link set lo up\naddress add {place.address}/16 dev eth0\nlink set eth0 up\n",
    )
    for namespace, device in ((place.namespace, "eth0"), (bridge, port)):
        if bits_per_s:
            shape = f"rate {bits_per_s}bit burst {TBF_BURST_BYTES} latency {TBF_LATENCY_MS}ms"
            _run("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", *shape.split())


def _set_congestion_control(name: str) -> None:
    """Let new connections of this thread's namespace send with this congestion control."""
    try:
        Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(name)
    except OSError as error:
        allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().strip()
        raise NoNamespaces(
            f"a namespace cannot have the congestion control {name!r}, only one of: {allowed}"
        ) from error


def _remove(prefix: str) -> None:
    """Remove all namespaces whose name begins so, and end what still runs in them."""
    for path in RUN.glob(f"{prefix}*"):
        listed = subprocess.run(
            ["ip", "netns", "pids", path.name], capture_output=True, text=True, check=False
        )
        for pid in listed.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", path.name], capture_output=True, check=False)


def _ip(namespace: str, batch: str) -> None:
    _run("ip", "-n", namespace, "-batch", "-", given=batch)


def _run(*command: str, given: str = "") -> None:
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=TOOL_S_MAX, check=False
    )
    if done.returncode:
        raise NoNamespaces(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _enter(namespace: str) -> None:
    target = os.open(RUN / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(target)
    finally:
        os.close(target)


def _setns(target: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(target, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise NoNamespaces(f"setns failed: {os.strerror(number)}")
