"""Writes configurations: as TOML that can be read again, and as the reference documentation of all keys."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from swarm.io.config_schema import Key, keys, sections, value_at
from swarm.io.redaction import hide_userinfo

NO_ORIGINS: Mapping[str, str] = {}


def render(config: Any, origins: Mapping[str, str] = NO_ORIGINS) -> str:
    """Return a configuration as TOML with the help of each key; `origins` say where values came from, by path."""
    helps = {section.path: section.help for section in sections(type(config))}
    lines: list[str] = []
    section = ""
    for key in keys(type(config)):
        if key.section != section:
            section = key.section
            lines += ["", f"# {helps[section]}", f"[{section}]"]
        lines += _entry(key, value_at(config, key.path), origins.get(key.path))
    return "\n".join(lines).lstrip("\n") + "\n"


def markdown(config_class: type, program: str) -> str:
    """Return the reference of a program's keys as Markdown."""
    helps = {section.path: section.help for section in sections(config_class)}
    lines = [f"## {program}"]
    section = None
    for key in keys(config_class):
        if key.section != section:
            section = key.section
            lines += ["", f"### `[{section}]` {helps[section]}" if section else "### Top level", ""]
            lines += ["| key | default | meaning |", "|---|---|---|"]
        lines += [f"| `{key.name}` | {_shown_default(key)} | {_cell(key.help)} |"]
        lines += _columns(key)
    return "\n".join(lines) + "\n"


def toml_value(key: Key, value: Any) -> str:
    """Return a value as TOML; bytes with their unit where it is exact."""
    if key.kind == "list":
        return "[" + ", ".join(_string(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    return _bytes(value) if key.unit == "bytes" else repr(value)


def _entry(key: Key, value: Any, origin: str | None) -> Iterator[str]:
    yield f"# {key.help}" + (f" ({origin})" if origin else "")
    if key.kind != "tables":
        yield f"{key.name} = {toml_value(key, value)}"
        return
    for item in value:
        yield f"[[{key.path}]]"
        for column in keys(type(item)):
            yield f"{column.name} = {toml_value(column, value_at(item, column.path))}"
    if not value:
        yield f"# [[{key.path}]]"


def _columns(key: Key) -> Iterator[str]:
    if key.table is not None:
        for column in keys(key.table):
            yield f"| `{key.name}[].{column.name}` | {_shown_default(column)} | {_cell(column.help)} |"


def _shown_default(key: Key) -> str:
    return "none" if key.kind == "tables" else f"`{toml_value(key, key.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _bytes(value: int) -> str:
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value and value % 1024**power == 0:
            return f'"{value // 1024**power}{unit}"'
    return repr(value)


def _string(value: str) -> str:
    return json.dumps(hide_userinfo(value), ensure_ascii=False)
