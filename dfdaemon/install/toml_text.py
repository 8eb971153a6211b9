"""TOML as text: where its tables begin, so that a line can be put in without touching the others."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from swarm.errors import ConfigError

Tree = dict[str, Any]


def parse(text: str, path: str) -> Tree:
    """Read TOML; raises ConfigError that names the file."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}. Nothing was changed: repair it first"
        ) from error


@dataclass(frozen=True, slots=True)
class Header:
    """A line such as `[plugins."x".registry]`: its keys, and the offsets of the line's start and end."""

    keys: tuple[str, ...]
    start: int
    end: int


def headers(text: str) -> Iterator[Header]:
    """Yield the lines that look like tables' headers.

    A line inside a multi-line string or array may look like one: whoever uses the offsets compares the trees before
    and after.
    """
    start = 0
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            keys = _keys(line)
            if keys:
                yield Header(keys, start, start + len(line))
        start += len(line)


def _keys(line: str) -> tuple[str, ...]:
    """Return the keys of a header, none if the line is not one."""
    try:
        tree: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    keys: list[str] = []
    while tree:
        if isinstance(tree, list):
            tree = tree[0]
            continue
        key, tree = next(iter(tree.items()))
        keys.append(key)
    return tuple(keys)


def quoted(text: str) -> str:
    """Write a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    assert escaped.isprintable(), "names and paths that we write have no control characters"
    return f'"{escaped}"'


def line_ended(text: str) -> str:
    """Return the text with an end of its last line, if it has one."""
    return text if not text or text.endswith("\n") else text + "\n"


def at(tree: Tree, *keys: str) -> Any:
    """Return the value under these keys, or None."""
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree
