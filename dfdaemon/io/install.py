"""`dfdaemon configure` and `dfdaemon unconfigure`: tell the runtimes of a node about the mirror, and take it back."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dfdaemon.config import DaemonConfig
from dfdaemon.install import containerd, crio, daemon_json, docker, k3s
from dfdaemon.install.containerd_config import Version, read_version
from dfdaemon.install.plan import Edit, Plan, unified_diff
from dfdaemon.install.record import Undo, undo
from dfdaemon.install.registries import chosen
from dfdaemon.io import install_restart
from dfdaemon.io.install_containerd import CONFIG, installed_version, read_node
from dfdaemon.io.install_files import NodeFiles
from dfdaemon.io.install_journal import Journal, alone
from swarm.addresses import join_address, parse_listen
from swarm.errors import ConfigError, DamselflyError
from swarm.io.config_file import DIRECTORY, is_there, load
from swarm.io.redaction import scrub

RUNTIMES = ("containerd", "crio", "docker", "k3s")
EXIT_FAILED = 1
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - addresses that mean all of the host's


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    runtime: str
    root: Path
    registries: tuple[str, ...]
    dry_run: bool
    restart: bool
    containerd_config: str
    version: Version | None

    @property
    def is_here(self) -> bool:
        """Whether the runtime is this machine's, and not that of an image or of another root folder."""
        return self.root == Path("/")


def main(argv: list[str]) -> None:
    """Run `configure` or `unconfigure`; exits 1 when it refuses or fails, 2 when the command line is wrong."""
    arguments = _parser().parse_args(argv)
    try:
        wanted = _wanted(arguments)
        if wanted.restart and not wanted.is_here:
            raise ConfigError("--restart is for this machine: it does not go together with --root")
        files = NodeFiles(wanted.root)
        with alone(files):
            journal = Journal(files, wanted.runtime)
            if arguments.verb == "configure":
                configure(journal, wanted, mirror_address(arguments.mirror, arguments.config, wanted.root))
            else:
                unconfigure(journal, wanted)
    except DamselflyError as error:
        print(f"dfdaemon {arguments.verb}: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dfdaemon", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("configure", help="tell a runtime about the mirror", allow_abbrev=False)
    verb.add_argument(
        "--registry",
        action="append",
        default=[],
        metavar="R",
        help="a registry to mirror, such as docker.io; may be given again. Without: all, where the runtime can",
    )
    verb.add_argument(
        "--mirror", metavar="HOST:PORT", help="the mirror; default: mirror.listen of the configuration"
    )
    verb.add_argument("--config", metavar="FILE", help="dfdaemon's configuration file")
    _add_common(verb)
    _add_common(verbs.add_parser("unconfigure", help="give everything back as it was", allow_abbrev=False))
    return parser


def _add_common(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("runtime", choices=RUNTIMES)
    verb.add_argument("--dry-run", action="store_true", help="show the changes as a diff, and change nothing")
    verb.add_argument(
        "--restart", action="store_true", help="restart or reload the runtime if that is needed"
    )
    verb.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="where the node's / is (%(default)s)"
    )
    verb.add_argument(
        "--containerd-config", default=CONFIG, metavar="FILE", help="containerd's own (%(default)s)"
    )
    verb.add_argument(
        "--containerd-version", metavar="X.Y", help="with --root: the version of that containerd"
    )


def _wanted(arguments: argparse.Namespace) -> Wanted:
    told = told_version(arguments.containerd_version)
    here = arguments.root == Path("/") and arguments.runtime == "containerd"
    return Wanted(
        arguments.runtime,
        arguments.root,
        tuple(getattr(arguments, "registry", ())),
        arguments.dry_run,
        arguments.restart,
        arguments.containerd_config,
        told or (installed_version() if here else None),
    )


def told_version(text: str | None) -> Version | None:
    """Return the version that --containerd-version names, None without one; raises ConfigError."""
    version = read_version(text) if text else None
    if text and version is None:
        raise ConfigError(f"--containerd-version {text} is not a version: expected X.Y, such as 1.7")
    return version


def mirror_address(given: str | None, config: str | None, root: Path) -> str:
    """Return the mirror's host:port as runtimes on this node reach it; raises ConfigError."""
    listen = given or daemon_config(config, root).mirror.listen
    host, port = parse_listen(listen, "--mirror" if given else "mirror.listen")
    if port == 0:
        raise ConfigError(f"the mirror's address {listen} has no fixed port: runtimes must know it")
    return join_address("127.0.0.1" if host in EVERYWHERE else host, port)


def daemon_config(config: str | None, root: Path) -> DaemonConfig:
    """Load the daemon's configuration; without a named file that of the node below `root`."""
    standard = root / str(DIRECTORY / "dfdaemon.toml").lstrip("/")
    file = config or (str(standard) if is_there(standard) else None)
    return load(DaemonConfig, ["--config", file] if file else [], "dfdaemon", "")


def configure(journal: Journal, wanted: Wanted, address: str) -> None:
    """Make the runtime use the mirror at this address."""
    registries = chosen(wanted.runtime, journal.record.registries, wanted.registries)
    plan = _PLANNERS[wanted.runtime](journal, wanted, registries, address)
    before = {edit.path: journal.files.read(edit.path) for edit in plan.edits}
    edits = [edit for edit in plan.edits if before[edit.path] != edit.after]
    restarts, left = (
        any(edit.restarts for edit in edits),
        install_restart.needed(journal.files, wanted.runtime),
    )
    if wanted.dry_run:
        for edit in edits:
            _show(edit.path, before[edit.path], edit.after)
    elif edits:
        if restarts and wanted.is_here:
            install_restart.remember(journal.files, wanted.runtime)
        journal.remember(edits, f"http://{address}", registries)
        for edit in edits:
            _write(journal.files, edit, before[edit.path])
    if not edits:
        print(f"{wanted.runtime}: nothing to change, it uses http://{address} for {', '.join(registries)}")
    for note in plan.notes:
        print(f"note: {note}")
    _restart_or_tell(journal.files, wanted, restarts, left)


def _show(path: str, before: str | None, after: str | None) -> None:
    """Print a change without what looks like a secret."""
    was, becomes = (None if text is None else scrub(text) for text in (before, after))
    print(unified_diff(path, was, becomes), end="")


def _write(files: NodeFiles, edit: Edit, before: str | None) -> None:
    if files.read(edit.path) != before:
        raise ConfigError(f"{edit.path} was changed by somebody else just now: run this again")
    files.write(edit.path, edit.after)
    print(f"{'made' if before is None else 'changed'} {edit.path}")


def unconfigure(journal: Journal, wanted: Wanted) -> None:
    """Give back all files of the runtime."""
    record, files = journal.record, journal.files
    left = install_restart.needed(files, wanted.runtime)
    if not journal.recorded:
        print(f"{wanted.runtime}: nothing to give back, dfdaemon did not configure it here")
        _restart_or_tell(files, wanted, False, left)
        return
    texts = {entry.path: files.read(entry.path) for entry in record.entries}
    undone = [
        (entry, undo(entry, texts[entry.path], journal.backup(entry), record.mirror))
        for entry in record.entries
    ]
    restarts = any(entry.restarts and done.how != "leave" for entry, done in undone)
    if restarts and wanted.is_here and not wanted.dry_run:
        install_restart.remember(files, wanted.runtime)
    for entry, done in undone:
        if wanted.dry_run:
            _show(entry.path, texts[entry.path], _result(done, texts[entry.path]))
        else:
            _carry_out(files, entry.path, done)
        if done.note:
            print(f"note: {done.note}")
    if not wanted.dry_run:
        journal.forget()
        for folder in reversed(record.folders):
            files.delete_folder(folder)
    _restart_or_tell(files, wanted, restarts, left)


def _carry_out(files: NodeFiles, path: str, done: Undo) -> None:
    if done.how == "delete":
        files.delete(path)
        print(f"deleted {path}")
    elif done.how != "leave":
        files.write(path, done.text)
        print(f"{'restored' if done.how == 'restore' else 'changed'} {path}")


def _result(done: Undo, current: str | None) -> str | None:
    if done.how == "leave":
        return current
    return None if done.how == "delete" else done.text


def _restart_or_tell(files: NodeFiles, wanted: Wanted, now: bool, before: bool) -> None:
    """Restart the runtime if the user said so, or else say how; `before`: an earlier run left that to be done."""
    if not now and not before:
        return
    if wanted.dry_run or not wanted.restart:
        install_restart.tell(files, wanted.runtime, before and not now)
    else:
        install_restart.carry_out(files, wanted.runtime)


def _plan_containerd(journal: Journal, wanted: Wanted, registries: tuple[str, ...], address: str) -> Plan:
    node = read_node(journal.files, journal.base, wanted.containerd_config, wanted.version)
    return containerd.plan(node, registries, f"http://{address}")


def _plan_crio(journal: Journal, wanted: Wanted, registries: tuple[str, ...], address: str) -> Plan:
    names = sorted(journal.files.names(crio.FOLDER) - {crio.NAME})
    paths = [crio.MAIN, *(f"{crio.FOLDER}/{name}" for name in names if name.endswith(".conf"))]
    texts = [(path, journal.base(path)) for path in paths]
    return crio.plan(
        journal.base(crio.PATH), [(path, text) for path, text in texts if text], registries, address
    )


def _plan_docker(journal: Journal, wanted: Wanted, registries: tuple[str, ...], address: str) -> Plan:
    flags = {}
    for folder in docker.UNIT_FOLDERS:
        for name in journal.files.names(folder):
            if name in ("docker", "docker.service") or folder.endswith("docker.service.d"):
                flags[f"{folder}/{name}"] = journal.files.read(f"{folder}/{name}") or ""
    return docker.plan(journal.base(daemon_json.PATH), flags, f"http://{address}")


def _plan_k3s(journal: Journal, wanted: Wanted, registries: tuple[str, ...], address: str) -> Plan:
    return k3s.plan(journal.base(k3s.PATH), registries, f"http://{address}")


_PLANNERS: dict[str, Callable[[Journal, Wanted, tuple[str, ...], str], Plan]] = {
    "containerd": _plan_containerd,
    "crio": _plan_crio,
    "docker": _plan_docker,
    "k3s": _plan_k3s,
}
