"""Reads a node's containerd: its configuration with all that it imports, its folders of registries, its version."""

import os
import shutil
import subprocess
from collections.abc import Callable

from dfdaemon.install.containerd import ContainerdNode, directories
from dfdaemon.install.containerd_config import (
    IMPORTS_MAX,
    ConfigFile,
    Version,
    imports,
    read_version,
    settings,
)
from dfdaemon.install.folders import Root
from dfdaemon.io.install_files import NodeFiles
from swarm.errors import ConfigError

CONFIG = "/etc/containerd/config.toml"
VERSION_S = 5.0
"""`containerd --version` takes milliseconds."""

Read = Callable[[str], str | None]
"""Returns a file's text: as it is, or as it would be without us."""


def read_node(files: NodeFiles, read: Read, config: str, version: Version | None) -> ContainerdNode:
    """Read all that decides about containerd's registries; raises ConfigError."""
    main = read(config)
    found = _with_imports(files, read, ConfigFile(config, main or ""))
    roots = tuple(Root(path, files.folders(path)) for path in directories(settings(found, version)))
    hosts: dict[str, str] = {}
    for root in roots:
        for name, inner in root.folders.items():
            path = f"{root.path}/{name}/hosts.toml"
            text = read(path) if "hosts.toml" in inner else None
            if text is not None:
                hosts[path] = text
    return ContainerdNode(found, main is not None, roots, hosts, version)


def _with_imports(files: NodeFiles, read: Read, main: ConfigFile) -> tuple[ConfigFile, ...]:
    """Return the file and those that it imports, and these import, each once, in the order of reading."""
    found = {main.path: main}
    waiting = [main]
    while waiting:
        file = waiting.pop(0)
        for pattern in imports(file):
            whole = os.path.normpath(os.path.join(os.path.dirname(file.path), pattern))
            for path in files.matching(whole):
                text = None if path in found else read(path)
                if text is not None:
                    found[path] = ConfigFile(path, text)
                    waiting.append(found[path])
        if len(found) > IMPORTS_MAX:
            raise ConfigError(f"{main.path} imports more than {IMPORTS_MAX} files: nothing was changed")
    return tuple(found.values())


def installed_version() -> Version | None:
    """Return the version of this machine's containerd, None if it cannot be asked."""
    program = shutil.which("containerd")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the machine's own containerd, without a shell
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return read_version(done.stdout)
