"""`dfdaemon doctor`: look at this node, say what keeps pulls from the mirror or the swarm, and what to do."""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from dfdaemon.config import DaemonConfig
from dfdaemon.install import findings, hosts_toml
from dfdaemon.install.containerd_config import settings
from dfdaemon.install.findings import ContainerdSeen, Finding
from dfdaemon.install.record import digest, without_our_part
from dfdaemon.io import doctor_probes as probes
from dfdaemon.io import doctor_registries, install_restart
from dfdaemon.io.identity import host_info, parse_address
from dfdaemon.io.install import RUNTIMES, daemon_config, mirror_address, told_version
from dfdaemon.io.install_containerd import CONFIG, installed_version, read_node
from dfdaemon.io.install_files import NodeFiles
from dfdaemon.io.install_journal import Journal, record_of
from swarm.addresses import parse_listen
from swarm.errors import DamselflyError
from swarm.version import VERSION

EXIT_WRONG = 1


def main(argv: list[str]) -> None:
    """Run the doctor; exits 1 when something is wrong."""
    arguments = _parser().parse_args(argv)
    found = list(examine(arguments))
    wrong = sum(finding.wrong for finding in found)
    if arguments.json:
        print(
            json.dumps(
                {"wrong": wrong, "findings": [dataclasses.asdict(finding) for finding in found]}, indent=2
            )
        )
    else:
        for finding in sorted(found, key=lambda finding: not finding.wrong):
            print(f"{'wrong' if finding.wrong else 'note '}  {finding.code}: {finding.what}")
            if finding.advice:
                print(f"       -> {finding.advice}")
        print(f"{wrong or 'nothing'} {'things are' if wrong > 1 else 'thing is' if wrong else 'is'} wrong")
    if wrong:
        sys.exit(EXIT_WRONG)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dfdaemon doctor", description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--config", metavar="FILE", help="dfdaemon's configuration file")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="where the node's / is (%(default)s)"
    )
    parser.add_argument(
        "--containerd-config", default=CONFIG, metavar="FILE", help="containerd's own (%(default)s)"
    )
    parser.add_argument(
        "--containerd-version", metavar="X.Y", help="with --root: the version of that containerd"
    )
    return parser


def examine(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Look at everything; what cannot be looked at is a finding too."""
    try:
        files = NodeFiles(arguments.root)
        config = daemon_config(arguments.config, arguments.root)
        mirror = mirror_address(None, arguments.config, arguments.root)
    except DamselflyError as error:
        yield Finding("configuration", True, str(error), "repair it: dfdaemon --print-config checks it")
        return
    look = partial(_containerd, arguments, files, f"http://{mirror}")
    found = _guarded("containerd-configuration", look)
    others = _others_configured(files)
    yield from findings.as_notes(found, others) if others else found
    yield from _recorded(files)
    yield from _guarded("disk", lambda: findings.of_disk(probes.disk(config.store, arguments.root)))
    for token in probes.tokens(config, arguments.root):
        yield from findings.of_token(token)
    certificate = probes.certificate(config.peer, arguments.root)
    if certificate is not None:
        yield from findings.of_certificate(certificate, time.time())
    yield from findings.of_registry_files(list(doctor_registries.unusable(config.origin, arguments.root)))
    if arguments.root == Path("/"):
        yield from _guarded("peer-loopback", partial(_addresses, config))
        yield from asyncio.run(running(config, mirror))


def _guarded(code: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return what was found, or that it could not be looked at."""
    try:
        return list(look())
    except DamselflyError as error:
        if isinstance(error.__cause__, PermissionError):
            return list(findings.of_missing_rights(str(error)))
        return [Finding(code, True, str(error), "repair it, and run the doctor again")]
    except PermissionError as error:
        return list(findings.of_missing_rights(f"this could not be looked at: {error}"))
    except OSError as error:
        return [
            Finding(
                code, True, f"this could not be looked at: {error}", "repair it, and run the doctor again"
            )
        ]


def _containerd(arguments: argparse.Namespace, files: NodeFiles, url: str) -> Iterator[Finding]:
    told = told_version(arguments.containerd_version)
    version = told or (installed_version() if arguments.root == Path("/") else None)
    if version is None and not files.exists(arguments.containerd_config):
        return
    node = read_node(files, files.read, arguments.containerd_config, version)
    mirrored = frozenset(path for path, text in node.hosts.items() if hosts_toml.has_mirror(text, url, path))
    yield from findings.of_containerd(
        ContainerdSeen(settings(node.files, version), version, node.roots, mirrored)
    )


def _others_configured(files: NodeFiles) -> list[str]:
    """Return the runtimes that `configure` was used for, if containerd is none of them."""
    with contextlib.suppress(DamselflyError):  # what cannot be known is told with the records themselves
        found = [runtime for runtime in RUNTIMES if files.exists(record_of(runtime))]
        return [] if "containerd" in found else found
    return []


def _recorded(files: NodeFiles) -> Iterator[Finding]:
    """Look at what `configure` has written down for each runtime."""
    for runtime in RUNTIMES:
        yield from _guarded("restart-pending", partial(_pending, files, runtime))
    for runtime in RUNTIMES:
        found = _guarded("configuration-lost", partial(_lost, files, runtime))
        yield from found
        if any(finding.code == findings.NOT_PERMITTED for finding in found):
            return  # the others' records are in the same folder


def _pending(files: NodeFiles, runtime: str) -> Iterator[Finding]:
    if install_restart.needed(files, runtime):
        yield from findings.of_restart(runtime)


def _lost(files: NodeFiles, runtime: str) -> Iterator[Finding]:
    journal = Journal(files, runtime)
    missing = []
    for entry in journal.record.entries:
        text = files.read(entry.path)
        same = text is not None and digest(text) == entry.after_sha256
        if not same and (text is None or without_our_part(entry.kind, text, journal.record.mirror) is None):
            missing.append(entry.path)
    yield from findings.of_changed_files(missing, runtime)


def _addresses(config: DaemonConfig) -> Iterator[Finding]:
    info = host_info(config, parse_address(config.peer.listen, "peer.listen"), "")
    schedulers = [parse_listen(address, "scheduler.addresses")[0] for address in config.scheduler.addresses]
    yield from findings.of_addresses([address.host for address in info.addresses], schedulers)


async def running(config: DaemonConfig, mirror_told: str) -> list[Finding]:
    """Ask what runs: the mirror, as runtimes are told of it, the daemon, the schedulers, a registry's clock."""
    schedulers = asyncio.gather(
        *(probes.scheduler(address, config) for address in config.scheduler.addresses)
    )
    mirror, daemon, clock = await asyncio.gather(
        probes.link(mirror_told, "mirror.listen"),
        probes.daemon(config.control_socket),
        probes.clock(config),
    )
    return [
        *findings.of_mirror(mirror),
        *findings.of_daemon(daemon, VERSION),
        *findings.of_schedulers(await schedulers, daemon),
        *findings.of_clock(*clock),
    ]
