"""What the doctor makes of what it saw."""

from collections.abc import Iterable

import pytest

from dfdaemon.install.containerd_config import CriSettings, Version
from dfdaemon.install.findings import (
    CertificateSeen,
    ContainerdSeen,
    DaemonSeen,
    DiskSeen,
    Finding,
    LinkSeen,
    TokenSeen,
    as_notes,
    of_addresses,
    of_certificate,
    of_changed_files,
    of_clock,
    of_containerd,
    of_daemon,
    of_disk,
    of_mirror,
    of_registry_files,
    of_schedulers,
    of_token,
)
from dfdaemon.install.folders import Root

CERTS = "/etc/containerd/certs.d"
CONFIG = "/etc/containerd/config.toml"
GIB = 1 << 30
HOSTS = frozenset(["hosts.toml"])


def wrong(found: Iterable[Finding]) -> list[str]:
    """The codes of what is wrong; each says what to do."""
    listed = [finding for finding in found if finding.wrong]
    assert all(finding.what and finding.advice for finding in listed)
    return [finding.code for finding in listed]


def noted(found: Iterable[Finding]) -> list[str]:
    return [finding.code for finding in found if not finding.wrong]


def containerd(
    config_path: str = CERTS,
    *,
    folders: dict[str, frozenset[str]] | None = None,
    mirrored: tuple[str, ...] = ("_default",),
    version: Version | None = (1, 7),
    mirrors: tuple[str, ...] = (),
    discards: bool = False,
    disabled: bool = False,
) -> list[Finding]:
    settings = CriSettings(CONFIG, "cri", config_path, mirrors, (), discards, discards, disabled)
    roots = tuple(
        Root(root, folders or {"_default": HOSTS} if root == CERTS else {}) for root in settings.roots
    )
    names = frozenset(f"{CERTS}/{name}/hosts.toml" for name in mirrored)
    return list(of_containerd(ContainerdSeen(settings, version, roots, names)))


def test_a_configured_containerd_has_nothing_wrong() -> None:
    assert containerd() == []


def test_without_config_path_no_hosts_toml_is_read() -> None:
    assert wrong(containerd("", mirrored=())) == ["containerd-config-path"]


@pytest.mark.parametrize(
    ("version", "discards", "expected"),
    [
        ((2, 1), False, ["containerd-config-path-list"]),
        (None, False, ["containerd-config-path-list"]),
        ((1, 7), False, []),
        ((2, 1), True, []),
    ],
)
def test_colons_are_wrong_where_the_transfer_service_pulls(
    version: Version | None, discards: bool, expected: list[str]
) -> None:
    found = containerd(f"{CERTS}:/etc/docker/certs.d", version=version, discards=discards)
    assert wrong(found) == expected
    assert ("containerd-config-path-list" in noted(found)) is not bool(expected)


def test_deprecated_mirrors_win_over_everything() -> None:
    assert wrong(containerd("", mirrors=("docker.io",), mirrored=())) == ["containerd-mirrors"]


@pytest.mark.parametrize("name", ["docker.io", "localhost_5000_", "localhost:5000"])
def test_a_folder_that_goes_before_the_default_is_found(name: str) -> None:
    (finding,) = containerd(folders={"_default": HOSTS, name: frozenset()})
    assert (finding.code, finding.wrong) == ("containerd-shadow", True)
    registry = "localhost:5000" if "5000" in name else name
    assert f"--registry {registry}" in finding.advice


def test_a_folder_with_our_mirror_and_a_node_with_chosen_registries_are_right() -> None:
    assert containerd(folders={"_default": HOSTS, "a": HOSTS}, mirrored=("_default", "a")) == []
    assert containerd(folders={"a": HOSTS, "b": HOSTS}, mirrored=("a",)) == []


def test_a_node_whose_hosts_toml_files_do_not_name_us_is_not_configured() -> None:
    assert wrong(containerd(mirrored=())) == ["containerd-not-configured"]


def test_discarded_layers_and_a_disabled_plugin_are_told() -> None:
    assert noted(containerd(discards=True)) == ["containerd-discards-layers"]
    assert noted(containerd("", disabled=True)) == ["containerd-cri-disabled"]


def test_the_mirror_is_reached_or_not() -> None:
    assert wrong(of_mirror(LinkSeen("127.0.0.1:4001", "Connection refused"))) == ["mirror-unreachable"]
    assert wrong(of_mirror(LinkSeen("127.0.0.1:4001"))) == []


SILENT, ALONE, ATTACHED = DaemonSeen("/s", error="none"), DaemonSeen("/s", "1"), DaemonSeen("/s", "1", True)
UP, DOWN = LinkSeen("a:4010"), LinkSeen("b:4010", "refused")


@pytest.mark.parametrize(
    ("links", "daemon", "expected"),
    [
        ([UP], ATTACHED, []),
        ([UP, DOWN], ATTACHED, ["scheduler-unreachable"]),
        ([DOWN], ALONE, ["scheduler-unreachable"]),
        ([UP], ALONE, ["scheduler-not-attached"]),
        ([UP], SILENT, []),
        ([], ALONE, []),
    ],
)
def test_the_way_to_the_scheduler(links: list[LinkSeen], daemon: DaemonSeen, expected: list[str]) -> None:
    found = list(of_schedulers(links, daemon))
    assert wrong(found) == expected
    assert noted(found) == ([] if links else ["scheduler-none"])


def test_the_daemon_answers_and_is_of_this_version() -> None:
    assert wrong(of_daemon(ATTACHED, "1")) == []
    assert wrong(of_daemon(ATTACHED, "2")) == ["version-mismatch"]
    assert wrong(of_daemon(SILENT, "1")) == ["daemon-silent"]


@pytest.mark.parametrize(
    ("skew_s", "wrongs", "notes"),
    [
        (0.0, [], []),
        (30.0, [], []),
        (-31.0, ["clock-skew"], []),
        (3600.0, ["clock-skew"], []),
        (None, [], ["clock-unknown"]),
    ],
)
def test_the_clock(skew_s: float | None, wrongs: list[str], notes: list[str]) -> None:
    found = list(of_clock(skew_s, "docker.io"))
    assert (wrong(found), noted(found)) == (wrongs, notes)


def test_a_clock_that_goes_before_or_after_is_told_so() -> None:
    assert "40 s ahead of" in next(of_clock(40.0, "docker.io")).what
    assert "40 s behind" in next(of_clock(-40.0, "docker.io")).what


@pytest.mark.parametrize(
    ("total", "free", "expected"),
    [
        (100 * GIB, 80 * GIB, []),
        (51 * GIB, 51 * GIB, []),
        (50 * GIB, 40 * GIB, ["disk-quota"]),
        (100 * GIB, GIB - 1, ["disk-full"]),
        (10 * GIB, 0, ["disk-quota", "disk-full"]),
    ],
)
def test_the_disk_has_room_for_the_quota_and_the_floor(total: int, free: int, expected: list[str]) -> None:
    assert wrong(of_disk(DiskSeen("/var/lib/damselfly", total, free, 50 * GIB, GIB))) == expected


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, []), (0o640, []), (0o644, ["token-readable"]), (0o604, ["token-readable"])]
)
def test_only_its_owner_and_group_read_the_token(mode: int, expected: list[str]) -> None:
    assert wrong(of_token(TokenSeen("/t", mode))) == expected


def test_a_token_that_cannot_be_used_is_told_with_its_reason() -> None:
    (finding,) = of_token(TokenSeen("/t", error="/t cannot be read"))
    assert (finding.code, finding.what) == ("token-unusable", "/t cannot be read")


def test_a_certificate_is_told_before_it_ends() -> None:
    assert list(of_certificate(CertificateSeen("/c", 0.0, 100.0), now_s=89.0)) == []
    for now_s, left in (91.0, "0.0 hours"), (-259100.0, "3 days"):
        (finding,) = of_certificate(CertificateSeen("/c", -1e7, 100.0), now_s)
        assert (finding.code, finding.wrong) == ("certificate-ends", False)
        assert left in finding.what


def test_a_certificate_that_no_host_takes_is_wrong() -> None:
    for is_refused, advice in (True, "issue"), (False, "repair"):
        seen = CertificateSeen("/c", error="the reason", is_refused=is_refused)
        (finding,) = of_certificate(seen, now_s=0.0)
        assert (finding.code, finding.wrong, finding.what) == ("certificate-unusable", True, "the reason")
        assert finding.advice.startswith(advice)


def test_a_scheduler_that_listens_and_does_not_speak_with_us_is_not_started_again() -> None:
    for listens, advice in (False, "start"), (True, "compare"):
        (finding,) = of_schedulers(
            [LinkSeen("s:4012", "TLS failed", listens)], DaemonSeen("/s", error="none")
        )
        assert finding.code == "scheduler-unreachable"
        assert finding.advice.startswith(advice)


def test_a_scheduler_that_this_host_cannot_ask_is_not_started_again() -> None:
    link = LinkSeen("s:4012", "scheduler.ca_file = '/c' cannot be read", is_ours=True)
    (finding,) = of_schedulers([link], DaemonSeen("/s", error="none"))
    assert (finding.code, finding.wrong) == ("scheduler-unreachable", True)
    assert "scheduler.ca_file = '/c' cannot be read" in finding.what
    assert finding.advice.startswith("repair the setting, or the file")


def test_what_is_wrong_with_a_runtime_that_is_not_used_is_a_note() -> None:
    note = Finding("n", False, "for information")
    made, same = as_notes([Finding("w", True, "it is so", "do that"), note], ["crio", "docker"])
    assert (made.code, made.wrong, made.what) == ("w", False, "it is so")
    assert made.advice.endswith("and not only crio, docker: do that")
    assert same == note


def test_each_file_of_a_registry_is_a_finding() -> None:
    assert wrong(of_registry_files(["a", "b"])) == ["registry-file-unusable"] * 2


@pytest.mark.parametrize(
    ("advertised", "schedulers", "expected"),
    [
        (["127.0.0.1"], ["scheduler.example"], ["peer-loopback"]),
        (["localhost", "::1"], ["10.0.0.1"], ["peer-loopback"]),
        (["node.localhost"], ["10.0.0.1"], ["peer-loopback"]),
        ([], ["10.0.0.1"], ["peer-loopback"]),
        (["127.0.0.1", "10.0.0.2"], ["10.0.0.1"], []),
        (["127.0.0.1"], ["127.0.0.1", "localhost"], []),
        (["127.0.0.1"], [], []),
    ],
)
def test_other_hosts_must_reach_this_one(
    advertised: list[str], schedulers: list[str], expected: list[str]
) -> None:
    assert wrong(of_addresses(advertised, schedulers)) == expected


def test_a_file_that_lost_our_part_is_named() -> None:
    (finding,) = of_changed_files(["/etc/x"], "k3s")
    assert finding.wrong
    assert "/etc/x" in finding.what
    assert "dfdaemon configure k3s" in finding.advice
