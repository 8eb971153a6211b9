"""What `dfdaemon configure crio` changes: a file in registries.conf.d, which CRI-O, podman and skopeo read.

A `[[registry]]` in a later file replaces the one of the same prefix in an earlier file as a whole
(containers-registries.conf.d(5)): so ours repeats what was there, and its name sorts last.
"""

from collections.abc import Sequence
from typing import Any

from dfdaemon.install.marks import block
from dfdaemon.install.plan import Edit, Plan, Restart
from dfdaemon.install.toml_text import Tree, line_ended, parse, quoted
from swarm.errors import ConfigError

MAIN = "/etc/containers/registries.conf"
FOLDER = "/etc/containers/registries.conf.d"
NAME = "zz-damselfly.conf"
PATH = f"{FOLDER}/{NAME}"
RESTART = Restart(
    ("systemctl", "reload", "crio"), "CRI-O reads it at a reload, podman at every pull; nothing is stopped"
)

Files = Sequence[tuple[str, str]]
"""Paths and texts of the other files, in the order in which they are read."""


def plan(text: str | None, files: Files, registries: Sequence[str], address: str) -> Plan:
    """Return what is to be changed; raises ConfigError. `text` is that of our file as it would be without us."""
    theirs = [registry for registry in registries if text and _found([(PATH, text)], registry)]
    if theirs:
        raise ConfigError(
            f"{PATH} has a [[registry]] for {theirs[0]} that is not ours: move it to another file"
        )
    tables = [_table(files, registry, address) for registry in registries]
    after = line_ended(text or "") + block("\n".join(tables).splitlines())
    parse(after, PATH)
    notes = [f"CRI-O has no name for all registries: {', '.join(registries)} only; --registry adds another"]
    return Plan((Edit(PATH, text, after, restarts=True),), (*notes, *_overriding(files, registries)))


def _table(files: Files, registry: str, address: str) -> str:
    """Return the registry's table: what the files say about it, and our mirror before the others."""
    found = _found(files, registry)
    if found.get("blocked"):
        raise ConfigError(
            f"{registry} is blocked in {MAIN} or {FOLDER}: it is not mirrored, and nothing was changed"
        )
    plain = {"prefix": registry, "location": registry} | {k: v for k, v in found.items() if k != "mirror"}
    lines = ["[[registry]]", *_pairs(plain)]
    ours = {"location": f"{address}/{registry}", "insecure": True}
    for mirror in (ours, *(other for other in found.get("mirror", ()) if other != ours)):
        lines += ["", "[[registry.mirror]]", *_pairs(mirror)]
    return "\n".join([*lines, ""])


def _found(files: Files, registry: str) -> Tree:
    """Return the table that counts for a registry, or an empty one."""
    result: Tree = {}
    for path, text in files:
        for table in _tables(path, text):
            if table.get("prefix", table.get("location")) == registry:
                result = table
    return result


def _tables(path: str, text: str) -> list[Tree]:
    tables = parse(text, path).get("registry", [])
    good = isinstance(tables, list) and all(isinstance(table, dict) for table in tables)
    if not good:
        raise ConfigError(
            f"{path}: [[registry]] is not a list of tables. Nothing was changed: repair it first"
        )
    return list(tables)


def _pairs(table: Tree) -> list[str]:
    return [f"{key} = {_value(key, value)}" for key, value in table.items()]


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.isprintable():
        return quoted(value)
    raise ConfigError(
        f"[[registry]] has {key} = {value!r}, a form that is not copied here: nothing was changed"
    )


def _overriding(files: Files, registries: Sequence[str]) -> list[str]:
    """Tell which later files take our place."""
    later = [(path, text) for path, text in files if path > PATH and path.startswith(FOLDER)]
    return [
        f"{path} is read after {NAME} and replaces the mirror of {registry}: rename it"
        for path, text in later
        for registry in registries
        if _found([(path, text)], registry)
    ]
