"""Docker's daemon.json: its `registry-mirrors`, which serve docker.io only. Everything else keeps its place."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from swarm.errors import ConfigError

PATH = "/etc/docker/daemon.json"
KEY = "registry-mirrors"

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Member:
    """A key of the outer object, and where it and its value stand."""

    key: str
    start: int
    value_start: int
    end: int


def parse(text: str) -> dict[str, Any]:
    """Read a daemon.json; raises ConfigError."""
    if not text.strip():
        return {}
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{PATH} is not valid JSON: {error}. Nothing was changed: repair it first"
        ) from error
    if not isinstance(tree, dict) or not _is_list(tree.get(KEY, [])):
        raise ConfigError(
            f"{PATH} is not an object with a list of {KEY}. Nothing was changed: repair it first"
        )
    return tree


def with_mirror(text: str, mirror: str) -> str:
    """Return the text with our mirror as the first; raises ConfigError."""
    tree = parse(text)
    mirrors = tree.get(KEY, [])
    if mirrors[:1] == [mirror]:
        return text
    if not tree:
        return f'{{\n  "{KEY}": [{json.dumps(mirror)}]\n}}\n'
    rest = [other for other in mirrors if other != mirror]
    ours = next((member for member in _members(text) if member.key == KEY), None)
    changed = _with_key(text, mirror) if ours is None else _with_first(text, ours, mirror, rest, mirrors)
    return _checked(changed, {**tree, KEY: [mirror, *rest]})


def _with_key(text: str, mirror: str) -> str:
    """Add the list after the last member, on a line of its own if the first has one."""
    members = list(_members(text))
    first, end = members[0].start, members[-1].end
    margin = text[text.rfind("\n", 0, first) + 1 : first]
    gap = f"\n{margin}" if "\n" in text[:first] and not margin.strip() else " "
    return f'{text[:end]},{gap}"{KEY}": [{json.dumps(mirror)}]{text[end:]}'


def _with_first(text: str, ours: Member, mirror: str, rest: list[str], mirrors: list[str]) -> str:
    """Put our mirror at the head of the list that is there."""
    if not rest or rest != mirrors:
        return text[: ours.value_start] + json.dumps([mirror, *rest]) + text[ours.end :]
    inside = text.index("[", ours.value_start) + 1
    item = _skip(text, inside)
    gap = text[inside:item]
    return f"{text[:inside]}{gap}{json.dumps(mirror)},{gap or ' '}{text[item:]}"


def without_mirror(text: str, mirror: str) -> str | None:
    """Return the text without our mirror, or None if it does not name it."""
    try:
        tree = parse(text)
    except ConfigError:
        return None
    if mirror not in tree.get(KEY, []):
        return None
    members = list(_members(text))
    index = max(number for number, member in enumerate(members) if member.key == KEY)
    ours = members[index]
    rest = [other for other in tree[KEY] if other != mirror]
    if rest:
        return _checked(text[: ours.value_start] + json.dumps(rest) + text[ours.end :], {**tree, KEY: rest})
    if index > 0:
        changed = text[: members[index - 1].end] + text[ours.end :]
    else:
        changed = text[: ours.start] + text[members[1].start if len(members) > 1 else ours.end :]
    return _checked(changed, {key: value for key, value in tree.items() if key != KEY})


def _checked(changed: str, wanted: dict[str, Any]) -> str:
    if parse(changed) != wanted:
        raise ConfigError(f"{PATH} has a form that is not edited here: change {KEY} by hand")
    return changed


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _members(text: str) -> Iterator[Member]:
    """Yield the members of the outer object of a text that is known to be right."""
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, end = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, end) + 1)
        _, stop = _DECODER.raw_decode(text, start)
        yield Member(key, at, start, stop)
        at = _skip(text, stop)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
