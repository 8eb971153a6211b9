"""Which folder containerd takes a registry's hosts.toml from (its `hostPaths` and `HostDirFromRoot`).

Under each directory of `config_path` in turn, the first folder *that exists* wins, even without a hosts.toml:
`host_port_`, `host:port`, `_default`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

DEFAULT = "_default"


@dataclass(frozen=True, slots=True)
class Root:
    """One directory of `config_path`: its path, and the names of the files in each of its folders."""

    path: str
    folders: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Folder:
    """A registry's folder: the directory it is in, its name, and the names of the files in it."""

    root: str
    name: str
    files: frozenset[str] = frozenset()

    @property
    def hosts_toml(self) -> str:
        """The path of its hosts.toml."""
        return f"{self.root}/{self.name}/hosts.toml"


def names(registry: str) -> tuple[str, ...]:
    """Return the folder names of a registry, the one that wins first."""
    host, colon, port = registry.rpartition(":")
    return (f"{host}_{port}_", registry) if colon and host else (registry,)


def registry_of(name: str) -> str:
    """Return the registry that a folder is of."""
    host, _, port = name.removesuffix("_").rpartition("_")
    return f"{host}:{port}" if name.endswith("_") and host and port.isdigit() else name


def folder_for(roots: Sequence[Root], registry: str) -> Folder:
    """Return the folder in which a registry's hosts.toml is to be: the one that wins, or else a new one that will.

    `registry` may be `_default`. That never goes into a directory before one with folders of registries, which it
    would hide.
    """
    wanted = (DEFAULT,) if registry == DEFAULT else names(registry)
    for root in roots:
        for name in wanted:
            if name in root.folders:
                return Folder(root.path, name, root.folders[name])
        if registry != DEFAULT and DEFAULT in root.folders:
            return Folder(root.path, wanted[0])
    filled = [root for root in roots if root.folders] if registry == DEFAULT else []
    return Folder((filled[-1] if filled else roots[0]).path, wanted[0])


def of_registries(roots: Sequence[Root]) -> Iterator[Folder]:
    """Yield the folders that are used for a registry of their own, and not `_default`."""
    seen: set[str] = set()
    for root in roots:
        for name in sorted(root.folders, key=lambda name: (registry_of(name), not name.endswith("_"))):
            if name != DEFAULT and registry_of(name) not in seen:
                seen.add(registry_of(name))
                yield Folder(root.path, name, root.folders[name])
        if DEFAULT in root.folders:
            return
