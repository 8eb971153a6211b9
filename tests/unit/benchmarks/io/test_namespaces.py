import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.io.goodput import goodput_bytes_per_s, loaded_rtt_s
from benchmarks.io.namespaces import NoNamespaces, connected, in_namespace, network, require_namespaces

LINK_BITS_PER_S = 80_000_000
LINKS = {"a": LINK_BITS_PER_S, "b": LINK_BITS_PER_S}
here = pytest.mark.needs("iproute2", root=True)


def own_namespace() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def made() -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"dfb{os.getpid()}-*")]


@here
def test_a_link_carries_its_rate_without_the_headers() -> None:
    with network(LINKS, "reno") as places:
        rate = goodput_bytes_per_s(*connected(places["a"], places["b"]))
    assert 0.85 * LINK_BITS_PER_S / 8 < rate < LINK_BITS_PER_S / 8


@here
def test_who_is_beside_full_links_waits_in_their_queues() -> None:
    with network(LINKS, "reno") as places:
        a, b = places["a"], places["b"]
        assert 0.001 < loaded_rtt_s(connected(a, b), connected(b, a), connected(a, b)) < 0.5


@here
def test_everything_is_gone_after_a_failure_and_what_ran_there_is_ended() -> None:
    before, sleepers = own_namespace(), []
    with suppress(ZeroDivisionError), network(LINKS, "reno") as places:
        assert own_namespace() != before
        sleep = [*places["a"].prefix, sys.executable, "-c", "print('inside', flush=True); input()"]
        sleepers.append(subprocess.Popen(sleep, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert sleepers[0].stdout.readline() == b"inside\n"
        raise ZeroDivisionError
    assert made() == []
    assert own_namespace() == before
    with sleepers[0] as sleeper:
        assert sleeper.wait(10) == -signal.SIGKILL


@here
def test_a_congestion_control_that_no_namespace_may_have_is_said() -> None:
    with pytest.raises(NoNamespaces, match=r"'telepathy', only one of: .*reno"), network(LINKS, "telepathy"):
        pass
    assert made() == []


@here
def test_only_the_thread_of_a_call_enters_a_namespace() -> None:
    with network({"a": 0}, "reno") as places:
        bridge = own_namespace()
        assert in_namespace(places["a"].namespace, own_namespace) != bridge
        assert own_namespace() == bridge


def test_without_root_it_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoNamespaces, match="take root"):
        require_namespaces()


def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoNamespaces, match="missing: ip, tc, nsenter"):
        require_namespaces()


def firewall_switches() -> set[str]:
    return {path.read_text().strip() for path in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*")}


@here
def test_frames_pass_no_firewall_in_there_and_nothing_changes_out_here() -> None:
    before = firewall_switches()
    with network({"a": 0}, "reno"):
        assert firewall_switches() <= {"0"}
    assert firewall_switches() == before
