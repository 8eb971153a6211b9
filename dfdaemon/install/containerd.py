"""What `dfdaemon configure containerd` changes: hosts.toml files, and `config_path` where it is not set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfdaemon.install.containerd_config import (
    DIAL_TIMEOUT_SINCE,
    STANDARD_CONFIG_PATH,
    ConfigFile,
    CriSettings,
    Version,
    settings,
    with_config_path,
)
from dfdaemon.install.folders import DEFAULT, Folder, Root, folder_for, of_registries, registry_of
from dfdaemon.install.hosts_toml import DIAL_TIMEOUT, Certificates, MirrorHost, with_mirror
from dfdaemon.install.plan import Edit, Plan, Restart
from swarm.errors import ConfigError

RESTART = Restart(
    ("systemctl", "restart", "containerd"),
    "config_path is read when containerd starts; containers go on running",
)


@dataclass(frozen=True, slots=True)
class ContainerdNode:
    """A node's containerd as it would be without us.

    `files` are its configuration, the main file first, even if it does not exist (`main_exists`); `roots` the
    directories of `config_path`; `hosts` the texts of the hosts.toml files by path.
    """

    files: tuple[ConfigFile, ...]
    main_exists: bool
    roots: tuple[Root, ...]
    hosts: Mapping[str, str]
    version: Version | None = None


def directories(found: CriSettings) -> tuple[str, ...]:
    """Return where the folders of registries are, or are going to be."""
    return found.roots or (STANDARD_CONFIG_PATH,)


def plan(node: ContainerdNode, registries: Sequence[str], mirror_url: str) -> Plan:
    """Return what is to be changed for these registries (`_default`: all); raises ConfigError when it cannot be."""
    found = settings(node.files, node.version)
    _refuse_old_form(found)
    timeout = DIAL_TIMEOUT if node.version and node.version >= DIAL_TIMEOUT_SINCE else ""
    mirror = MirrorHost(mirror_url, timeout)
    folders = [folder_for(node.roots, registry) for registry in registries]
    edits = [_hosts_edit(folder, node.hosts, mirror) for folder in folders]
    value, notes = _config_path(found, node)
    if value:
        edits.append(_config_edit(node, found, value))
    notes += _hidden(node, folders)
    if node.version is None:
        notes.append(
            "containerd's version is not known here, so no dial_timeout is set: --containerd-version tells it"
        )
    return Plan(tuple(edits), tuple(notes))


def _refuse_old_form(found: CriSettings) -> None:
    """Refuse settings beside which containerd does not allow a `config_path`."""
    old = [f'mirrors."{name}"' for name in found.mirrors]
    old += [f'configs."{name}".tls' for name in found.tls_configs]
    if old:
        raise ConfigError(
            f"{found.file} has the deprecated registry.{old[0]}, beside which containerd takes no config_path. Nothing "
            f"was changed: move {'it' if len(old) == 1 else 'these'} into {STANDARD_CONFIG_PATH}/REGISTRY/hosts.toml"
            f" (containerd's docs/hosts.md), and run this again. Found: {', '.join(old)}"
        )


def _hosts_edit(folder: Folder, hosts: Mapping[str, str], mirror: MirrorHost) -> Edit:
    path = folder.hosts_toml
    text = hosts.get(path)
    certificates = Certificates.among(folder.files)
    return Edit(path, text, with_mirror(text or "", mirror, path, certificates))


def _config_path(found: CriSettings, node: ContainerdNode) -> tuple[str, list[str]]:
    """Return the `config_path` that has to be set, "" for none, and what there is to say about it."""
    if found.disabled:
        return "", [
            f"the CRI plugin is disabled in {found.file}: hosts.toml serves nerdctl and ctr --hosts-dir"
        ]
    if not found.roots:
        return STANDARD_CONFIG_PATH, []
    if len(found.roots) == 1 or not found.takes_one_directory(node.version):
        return "", []
    if node.version is None:
        return "", [f"from 2.1 on containerd takes config_path = {found.config_path!r} as one directory"]
    first, *others = node.roots
    if any(root.folders for root in others):
        raise ConfigError(
            f"this containerd takes config_path = {found.config_path!r} as one directory and finds nothing there. "
            f"Nothing was changed: move the folders below {others[-1].path} to {first.path}, and run this again"
        )
    return first.path, [
        f"config_path was {found.config_path!r}, which this containerd takes as one directory"
    ]


def _config_edit(node: ContainerdNode, found: CriSettings, value: str) -> Edit:
    file = next(file for file in node.files if file.path == found.file)
    exists = node.main_exists or file is not node.files[0]
    return Edit(
        file.path, file.text if exists else None, with_config_path(file, found.plugin, value), restarts=True
    )


def _hidden(node: ContainerdNode, folders: Sequence[Folder]) -> list[str]:
    """Tell which registries keep away from the mirror because they have a folder of their own."""
    if DEFAULT not in {folder.name for folder in folders}:
        return []
    ours = {folder.hosts_toml for folder in folders}
    kept = (folder for folder in of_registries(node.roots) if folder.hosts_toml not in ours)
    return [
        f"{folder.root}/{folder.name} goes before _default: {registry_of(folder.name)} is not mirrored. "
        f"If it should be: dfdaemon configure containerd --registry {registry_of(folder.name)}"
        for folder in kept
    ]
