"""The Attach stream over TLS: who gets one, who does not and hears why, and files that change."""

import shutil
from pathlib import Path

import pytest

from dfdaemon.config import DaemonConfig, PeerConfig, SchedulerLinkConfig
from dfdaemon.io import doctor_probes as probes
from dfdaemon.io.scheduler_tls import LinkTls
from scheduler.config import SchedulerConfig
from scheduler.events import HostAttached
from scheduler.io.server_tls import ServerTls
from swarm.errors import ConfigError
from tests.support.attach import Daemon, Scheduler, ScriptedMachine
from tests.support.certificates import make_certificate

TOKEN = b"a token of many bytes"


def files(directory: Path, name: str, address: str = "127.0.0.1") -> tuple[str, str]:
    """Return a certificate, which is its own authority, and its key."""
    folder = directory / name
    folder.mkdir()
    certificate, key = make_certificate(folder, address)
    return str(certificate), str(key)


def served(shown: tuple[str, str], authority: str = "") -> SchedulerConfig:
    """Settings of a scheduler: what it shows, and whom daemons must be certified by."""
    return SchedulerConfig(
        tls_listen="127.0.0.1:0", certificate_file=shown[0], key_file=shown[1], ca_file=authority
    )


def link(authority: str, shown: tuple[str, str] = ("", "")) -> LinkTls:
    """Settings of a daemon: whom the scheduler must be certified by, and what it shows."""
    peer = PeerConfig(certificate_file=shown[0], key_file=shown[1])
    return LinkTls(DaemonConfig(peer=peer, scheduler=SchedulerLinkConfig(tls=True, ca_file=authority)))


async def loss(address: str, tls: LinkTls | None) -> str:
    """Return why a daemon does not attach."""
    async with Daemon("a", [address], TOKEN, tls=tls).running() as daemon:
        await daemon.until(lambda each: bool(each.losses()))
        assert daemon.attachments() == 0
        return daemon.losses()[0]


async def test_a_daemon_attaches_over_tls(tmp_path: Path) -> None:
    shown, machine = files(tmp_path, "scheduler"), ScriptedMachine()
    scheduler = Scheduler(machine, TOKEN, tls=served(shown))
    async with (
        scheduler.running() as address,
        Daemon("a", [address], TOKEN, tls=link(shown[0])).running() as daemon,
        Daemon("b", [scheduler.address], TOKEN).running() as plain,
    ):
        for each in daemon, plain:  # the plain address is still there
            await machine.happened(HostAttached(each.hello))


async def test_a_scheduler_that_cannot_be_believed_is_left(tmp_path: Path) -> None:
    shown, other = files(tmp_path, "scheduler"), files(tmp_path, "other")
    elsewhere = files(tmp_path, "elsewhere", "10.9.8.7")
    async with Scheduler(ScriptedMachine(), TOKEN, tls=served(shown)).running() as address:
        assert "CERTIFICATE_VERIFY_FAILED" in await loss(address, link(other[0]))
    async with Scheduler(ScriptedMachine(), TOKEN, tls=served(elsewhere)).running() as address:
        assert "Hostname Verification Check failed" in await loss(address, link(elsewhere[0]))


async def test_daemons_show_certificates_where_they_are_asked_for(tmp_path: Path) -> None:
    shown, member, stranger = (files(tmp_path, name) for name in ("scheduler", "member", "stranger"))
    scheduler = Scheduler(ScriptedMachine(), TOKEN, tls=served(shown, authority=member[0]))
    async with scheduler.running() as address:
        async with Daemon("a", [address], TOKEN, tls=link(shown[0], member)).running() as daemon:
            await daemon.until(lambda each: each.attachments() == 1)
        assert f"the scheduler at {address} cannot be used" in await loss(address, link(shown[0], stranger))
        assert f"the scheduler at {address} cannot be used" in await loss(address, link(shown[0]))


async def test_plain_and_tls_do_not_meet(tmp_path: Path) -> None:
    shown = files(tmp_path, "scheduler")
    scheduler = Scheduler(ScriptedMachine(), TOKEN, tls=served(shown))
    async with scheduler.running() as address:
        assert "cannot be used" in await loss(address, None)
        assert "handshake failed" in await loss(scheduler.address, link(shown[0]))


async def test_new_certificates_count_without_a_restart_and_broken_files_never(tmp_path: Path) -> None:
    shown, new = files(tmp_path, "scheduler"), files(tmp_path, "new")
    first = Path(shutil.copy(shown[0], tmp_path / "first.pem"))
    scheduler = Scheduler(ScriptedMachine(), TOKEN, tls=served(shown))
    async with scheduler.running() as address:
        Path(shown[0]).write_text("nothing")
        async with Daemon("a", [address], TOKEN, tls=link(str(first))).running() as daemon:
            await daemon.until(lambda each: each.attachments() == 1)
        assert "tls_unreadable" in scheduler.log.getvalue()
        for old, file in zip(shown, new, strict=True):
            shutil.copy(file, old)
        async with Daemon("b", [address], TOKEN, tls=link(new[0])).running() as daemon:
            await daemon.until(lambda each: each.attachments() == 1)


async def test_a_daemon_reads_its_files_for_each_attempt(tmp_path: Path) -> None:
    shown, later = files(tmp_path, "scheduler"), tmp_path / "later.pem"
    async with (
        Scheduler(ScriptedMachine(), TOKEN, tls=served(shown)).running() as address,
        Daemon("a", [address], TOKEN, tls=link(str(later))).running() as daemon,
    ):
        await daemon.until(lambda each: bool(each.losses()))
        assert daemon.losses() == [
            f"no TLS to the scheduler: scheduler.ca_file = '{later}' cannot be read: No such file or directory"
        ]
        shutil.copy(shown[0], later)
        await daemon.until(lambda each: each.attachments() == 1)


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.tls.*scheduler\.ca_file or peer\.ca_file"):
        DaemonConfig(scheduler=SchedulerLinkConfig(tls=True))
    with pytest.raises(ConfigError, match=r"tls_listen.*with certificate_file"):
        SchedulerConfig(tls_listen="127.0.0.1:0")
    with pytest.raises(ConfigError, match=r"tls_listen.*a cluster token is needed"):
        SchedulerConfig(tls_listen="0.0.0.0:4012", certificate_file="c.pem")
    with pytest.raises(ConfigError, match=r"certificate_file.*cannot be read: No such file"):
        ServerTls(served((str(tmp_path / "nowhere"), "")), lambda note: None)
    key = tmp_path / "text"
    key.write_text("a secret that is no PEM")
    shown = files(tmp_path, "scheduler")
    with pytest.raises(ConfigError, match="is no PEM file") as raised:
        ServerTls(served((shown[0], str(key))), lambda note: None)
    assert "secret" not in str(raised.value)


async def test_the_doctor_sees_what_daemons_see(tmp_path: Path) -> None:
    shown, ours, other = (files(tmp_path, name) for name in ("scheduler", "ours", "other"))
    scheduler = Scheduler(ScriptedMachine(), TOKEN, tls=served(shown, authority=ours[0]))
    async with scheduler.running() as address:
        for pair, is_let_in in (ours, True), (other, False), (("", ""), False):
            peer = PeerConfig(certificate_file=pair[0], key_file=pair[1])
            own = DaemonConfig(peer=peer, scheduler=SchedulerLinkConfig(tls=True, ca_file=shown[0]))
            seen = await probes.scheduler(address, own)
            assert (seen.error == "") == is_let_in
            assert seen.listens
