"""What `dfdaemon configure k3s` changes: registries.yaml, from which k3s writes hosts.toml files when it starts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from dfdaemon.install.marks import block
from dfdaemon.install.plan import Edit, Plan, Restart
from dfdaemon.install.registries import EVERY
from dfdaemon.install.toml_text import line_ended
from swarm.errors import ConfigError

PATH = "/etc/rancher/k3s/registries.yaml"
STEP = "  "
EFFECT = "k3s reads registries.yaml when it starts; containers go on running"
SERVER = Restart(("systemctl", "restart", "k3s"), EFFECT)
AGENT = Restart(("systemctl", "restart", "k3s-agent"), EFFECT)
AGENT_UNIT = "/etc/systemd/system/k3s-agent.service"


def plan(text: str | None, registries: Sequence[str], mirror_url: str) -> Plan:
    """Return what is to be changed; raises ConfigError."""
    edit = Edit(PATH, text, with_mirror(text or "", registries, mirror_url), restarts=True)
    known = (
        'k3s 1.31.6 and 1.32.2 do not fall back to the registry under "*": update, or name registries there'
    )
    return Plan((edit,), (known,) if EVERY in registries else ())


@dataclass(frozen=True, slots=True)
class _Change:
    """Lines that come in at a line's number, in place of `count` lines."""

    line: int
    count: int
    lines: list[str]
    indent: str


def with_mirror(text: str, registries: Sequence[str], mirror_url: str) -> str:
    """Return the text with our mirror as the first endpoint of these registries; raises ConfigError."""
    tree = parse(text)
    wanted = _wanted(tree, registries, mirror_url)
    if wanted == tree:
        return text
    lines = line_ended(text).splitlines(keepends=True)
    changes = _changes(text, tree, registries, mirror_url)
    for change in sorted(
        changes, key=lambda change: (-change.line, -change.count)
    ):  # from below, so numbers stay
        old = lines[change.line : change.line + change.count]
        lines[change.line : change.line + change.count] = [block(change.lines, change.indent, was=old)]
    changed = "".join(lines)
    try:
        if parse(changed) == wanted:
            return changed
    except ConfigError:
        pass
    raise _unknown_form(mirror_url)


def parse(text: str) -> dict[str, Any]:
    """Read a registries.yaml; raises ConfigError."""
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).splitlines()[-1].strip()
        raise ConfigError(
            f"{PATH} is not valid YAML: {first}. Nothing was changed: repair it first"
        ) from error
    tree = {} if tree is None else tree
    mirrors = tree.get("mirrors") if isinstance(tree, dict) else ()
    if not isinstance(mirrors, dict | None) or not all(map(_is_mirror, (mirrors or {}).values())):
        raise ConfigError(f"{PATH} has no mapping of mirrors to lists of endpoints: repair it first")
    return dict(tree)


def _is_mirror(value: object) -> bool:
    return value is None or (isinstance(value, dict) and isinstance(value.get("endpoint"), list | None))


def _endpoints(tree: dict[str, Any], registry: str) -> list[Any]:
    mirror = (tree.get("mirrors") or {}).get(registry) or {}
    return list(mirror.get("endpoint") or ())


def _is_first(tree: dict[str, Any], registry: str, mirror_url: str) -> bool:
    return _endpoints(tree, registry)[:1] == [mirror_url]


def _wanted(tree: dict[str, Any], registries: Sequence[str], mirror_url: str) -> dict[str, Any]:
    wanted: dict[str, Any] = _unshared(tree)
    for registry in registries:
        if not _is_first(tree, registry, mirror_url):
            wanted["mirrors"] = wanted.get("mirrors") or {}
            wanted["mirrors"][registry] = wanted["mirrors"].get(registry) or {}
            wanted["mirrors"][registry]["endpoint"] = [mirror_url, *_endpoints(tree, registry)]
    return wanted


def _unshared(value: Any) -> Any:
    """Copy a tree so that what an alias (*name) repeats is no longer one object."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def _changes(text: str, tree: dict[str, Any], registries: Sequence[str], mirror_url: str) -> list[_Change]:
    """Return what has to come in; what is not known here to be right is found out by comparing the trees."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pair = _pair(root, "mirrors")
    missing = [name for name in registries if name not in (tree.get("mirrors") or {})]
    ours = [line for name in missing for line in _mirror_lines(name, mirror_url)]
    if pair is None:
        count = len(line_ended(text).splitlines())
        return [_Change(count, 0, ["mirrors:", *(STEP + line for line in ours)], "")]
    key, mirrors = pair
    changes = [_under(key, mirrors, ours)] if ours else []
    for name in registries:
        found = _pair(mirrors, name)
        if found is not None and not _is_first(tree, name, mirror_url):
            changes.append(_endpoint_change(found, mirror_url))
    return changes


def _endpoint_change(pair: tuple[yaml.Node, yaml.Node], mirror_url: str) -> _Change:
    """Put our endpoint before those that a registry has."""
    key, mirror = pair
    item = f"- {json.dumps(mirror_url)}"
    found = _pair(mirror, "endpoint")
    if found is None:
        return _under(key, mirror, ["endpoint:", STEP + item])
    name, endpoints = found
    if isinstance(endpoints, yaml.SequenceNode) and endpoints.flow_style:
        start, end = name.start_mark, endpoints.end_mark
        others = [json.dumps(other.value) for other in endpoints.value]
        lines = ["endpoint:", STEP + item, *(f"{STEP}- {other}" for other in others)]
        return _Change(start.line, end.line - start.line + 1, lines, " " * start.column)
    return _under(name, endpoints, [item])


def _under(key: yaml.Node, value: yaml.Node, lines: list[str]) -> _Change:
    """Put lines before the first child of a key's value, or below the key if it has no value."""
    start, indent = key.start_mark, " " * key.start_mark.column
    if isinstance(value, yaml.ScalarNode) and value.value == "":
        return _Change(key.end_mark.line + 1, 0, lines, indent + STEP)
    if not isinstance(value, yaml.CollectionNode) or not value.value:  # null, {} or [] on the key's line
        return _Change(start.line, 1, [f"{json.dumps(key.value)}:", *(STEP + line for line in lines)], indent)
    return _Change(value.start_mark.line, 0, lines, " " * value.start_mark.column)


def _pair(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return a key and its value in a mapping."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((pair for pair in pairs if pair[0].value == name), None)


def _mirror_lines(registry: str, mirror_url: str) -> list[str]:
    return [f"{json.dumps(registry)}:", f"{STEP}endpoint:", f"{STEP * 2}- {json.dumps(mirror_url)}"]


def _unknown_form(mirror_url: str) -> ConfigError:
    return ConfigError(
        f"{PATH} has a form that is not edited here: put {mirror_url} first among the endpoints by hand"
    )
