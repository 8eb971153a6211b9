"""containerd's own configuration: what it says about registries, and how its `config_path` is set.

Rules from containerd's `config.go` and `image_pull.go`: files named by `imports` are read after the file itself; up
to 1.7 a plugin's section in a later file replaces the whole section, from 2.0 on the two are merged. `config_path`
may be several directories with colons between, but since 2.1 pulls go through the transfer service, which takes the
value as one directory, unless the configuration has something that only the older way of pulling can do.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfdaemon.install.marks import block
from dfdaemon.install.toml_text import Tree, at, headers, line_ended, parse, quoted
from swarm.errors import ConfigError

STANDARD_CONFIG_PATH = "/etc/containerd/certs.d"
IMPORTS_MAX = 64
"""Files that one configuration may import here; distributions have a handful."""

Version = tuple[int, int]
MERGING_SINCE: Version = (2, 0)
TRANSFER_SINCE: Version = (2, 1)
DIAL_TIMEOUT_SINCE: Version = (2, 1)

_VERSION = re.compile(r"(?:^|\s)v?(\d+)\.(\d+)(?=[.\s~+-]|$)")
_CONFIG_PATH_LINE = re.compile(
    r"^[ \t]*(?:config_path|\"config_path\"|'config_path')[ \t]*=[^\n]*\n?", re.MULTILINE
)
_PLUGIN = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
"""The plugin that has the registries' settings, by the version of the configuration file."""
_CRI_NAMES = frozenset({"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"})


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file of containerd's configuration."""

    path: str
    text: str

    @property
    def tree(self) -> Tree:
        """What it says; raises ConfigError."""
        return parse(self.text, self.path)


@dataclass(frozen=True, slots=True)
class CriSettings:
    """What containerd's configuration says about registries.

    `file` is the path of the file that decides about `config_path`, `plugin` the section in it.
    """

    file: str
    plugin: str
    config_path: str = ""
    mirrors: tuple[str, ...] = ()
    tls_configs: tuple[str, ...] = ()
    discards_layers: bool = False
    pulls_itself: bool = False
    disabled: bool = False

    @property
    def roots(self) -> tuple[str, ...]:
        """The directories of `config_path`."""
        return tuple(part.rstrip("/") or "/" for part in self.config_path.split(":") if part)

    def takes_one_directory(self, version: Version | None) -> bool:
        """Say whether a `config_path` with colons is taken as one directory; an unknown version may do so."""
        return (version is None or version >= TRANSFER_SINCE) and not self.pulls_itself


def read_version(text: str) -> Version | None:
    """Read `containerd --version`, or a plain version; None if there is none in it."""
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2])) if found else None


def imports(file: ConfigFile) -> tuple[str, ...]:
    """Return the patterns of files that a file imports; raises ConfigError."""
    return _texts(file, "imports")


def settings(files: Sequence[ConfigFile], version: Version | None) -> CriSettings:
    """Return what the files say together, in the order in which containerd reads them; raises ConfigError.

    The first is the main file, and may be one that does not exist yet: an empty text.
    """
    merging = version >= MERGING_SINCE if version else _format(files[0], 2) >= 3
    default = _format(files[0], 1 if files[0].text.strip() else 3 if merging else 2)
    plugin, home = _PLUGIN[default], files[0].path
    section: Tree = {}
    for file in files:
        name = _PLUGIN[_format(file, default)]
        found = at(file.tree, "plugins", name)
        if not isinstance(found, dict):
            continue
        if not merging or at(found, "registry", "config_path") is not None:
            plugin, home = name, file.path
        section = _merged(section, found) if merging else found
    return _read(section, home, plugin, _is_disabled(files))


def _format(file: ConfigFile, default: int) -> int:
    version = file.tree.get("version", default)
    if type(version) is not int or version not in _PLUGIN:
        raise ConfigError(
            f"{file.path} has version = {version!r}: of containerd's configuration 1, 2 and 3 are known. "
            "Nothing was changed: repair it first"
        )
    return version


def _is_disabled(files: Sequence[ConfigFile]) -> bool:
    return not _CRI_NAMES.isdisjoint(name for file in files for name in _texts(file, "disabled_plugins"))


def _texts(file: ConfigFile, key: str) -> tuple[str, ...]:
    """Return a list of texts, such as names; raises ConfigError when it is none."""
    found = file.tree.get(key, [])
    good = isinstance(found, list) and all(isinstance(text, str) for text in found)
    if not good:
        raise ConfigError(f"{file.path}: {key} is not a list of texts. Nothing was changed: repair it first")
    return tuple(found)


def _merged(first: Tree, second: Tree) -> Tree:
    result = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


def _read(section: Tree, home: str, plugin: str, disabled: bool) -> CriSettings:
    registry = _table(section, "registry")
    path = registry.get("config_path", "")
    configs = _table(registry, "configs")
    discards = section.get("discard_unpacked_layers") or at(section, "containerd", "discard_unpacked_layers")
    mirrors = tuple(_table(registry, "mirrors"))
    only_old = discards or mirrors or configs or section.get("use_local_image_pull")
    return CriSettings(
        file=home,
        plugin=plugin,
        config_path=path if isinstance(path, str) else "",
        mirrors=mirrors,
        tls_configs=tuple(name for name, value in configs.items() if at(value, "tls") is not None),
        discards_layers=bool(discards),
        pulls_itself=bool(only_old),
        disabled=disabled,
    )


def _table(tree: Tree, key: str) -> Tree:
    value: Any = tree.get(key)
    return value if isinstance(value, dict) else {}


def with_config_path(file: ConfigFile, plugin: str, value: str) -> str:
    """Return the file's text with `config_path` set; raises ConfigError when its form is not known here."""
    keys = ("plugins", plugin, "registry")
    wanted = _wanted(file.tree, keys, value)
    for changed in _attempts(file.text, keys, value):
        if _reads_as(changed, wanted):
            return changed
    section = f'[plugins."{plugin}".registry]'
    raise ConfigError(
        f"{file.path} has a form that is not edited here: set in {section} config_path = {value!r}"
    )


def _wanted(tree: Tree, keys: tuple[str, ...], value: str) -> Tree:
    wanted = copy.deepcopy(tree)
    table = wanted
    for key in keys:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"containerd's configuration has no table at {'.'.join(keys)}: {key} is a value"
            )
    table["config_path"] = value
    if not tree:
        wanted["version"] = _format_of(keys[1])
    return wanted


def _format_of(plugin: str) -> int:
    return next(version for version, name in _PLUGIN.items() if name == plugin)


def _attempts(text: str, keys: tuple[str, ...], value: str) -> list[str]:
    """Return the texts that may be the wanted one: a replaced line, a line in the table, a new table."""
    line = f"config_path = {quoted(value)}"
    found = list(headers(text))
    ends = [*(header.start for header in found[1:]), len(text)]
    attempts = []
    for header, end in zip(found, ends, strict=False):
        if header.keys == keys:
            attempts += _in_table(text, header.end, end, line)
    name = keys[1] if keys[1] == "cri" else quoted(keys[1])
    new = block([f"[plugins.{name}.registry]", f"  {line}"])
    if not text.strip():
        new = block([f"version = {_format_of(keys[1])}", "", f"[plugins.{name}.registry]", f"  {line}"])
    return [*attempts, line_ended(text) + new]


def _in_table(text: str, start: int, end: int, line: str) -> list[str]:
    old = _CONFIG_PATH_LINE.search(text, start, end)
    if old is None:
        indent = re.match(r"[ \t]*", text[start:end])
        return [line_ended(text[:start]) + block([line], indent[0] if indent else "") + text[start:]]
    indent = re.match(r"[ \t]*", old[0])
    new = block([line], indent[0] if indent else "", was=[old[0]])
    return [text[: old.start()] + new + text[old.end() :]]


def _reads_as(text: str, wanted: Tree) -> bool:
    try:
        return parse(text, "") == wanted
    except ConfigError:
        return False
