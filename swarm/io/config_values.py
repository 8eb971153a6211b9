"""Reads and writes the values of settings: from TOML, and from the text of flags and environment variables."""

import difflib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from swarm.errors import ConfigError
from swarm.io.config_schema import Key, build, keys
from swarm.io.redaction import hide_userinfo

LIST_MAX = 1_000
"""Items of one list, or tables of one kind; more are a mistake."""

_BYTES = {
    "": 1,
    "B": 1,
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), 1)},
    **{
        f"{unit}{tail}": 1024**power
        for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)
        for tail in ("B", "")
    },
}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)\s*([A-Za-z]*)(?:/s)?")
_TRUTHS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}

EXPECTED = {
    ("bool", ""): "true or false",
    ("int", ""): "a whole number",
    ("int", "bytes"): "a number of bytes, such as 1048576 or 64MiB",
    ("float", ""): "a number",
    ("float", "seconds"): "a duration, such as 2.5, 10s or 500ms",
    ("str", ""): "a text",
    ("list", ""): "a list of texts",
    ("tables", ""): "a list of tables",
}
"""What is said about a value of the wrong type, by kind and unit."""


def wrong(key: Key, value: object) -> ConfigError:
    """Return the error for a value that the key's type does not have."""
    shown = hide_userinfo(repr(value))
    return ConfigError(f"{key.path} = {shown} is not allowed: expected {EXPECTED[key.kind, key.unit]}")


def unknown(path: str, known: Iterable[str], what: str = "key") -> ConfigError:
    """Return the error for a key that does not exist, with the nearest one that does."""
    known = list(known)
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    if not near:
        ends = {name.rpartition(".")[2]: name for name in known}
        near = [
            ends[end] for end in difflib.get_close_matches(path.rpartition(".")[2], ends, n=1, cutoff=0.75)
        ]
    return ConfigError(f"unknown {what} {path!r}" + (f": did you mean {near[0]!r}?" if near else ""))


def from_text(key: Key, text: str) -> Any:
    """Read the text of a flag or a variable. Lists are separated by commas, tables are JSON."""
    text = text.strip() if key.kind != "str" else text
    if key.kind == "list":
        return from_toml(key, [item.strip() for item in text.split(",") if item.strip()])
    if key.kind == "tables":
        return from_toml(key, _json(key, text))
    if key.kind == "bool":
        return from_toml(key, _TRUTHS.get(text.lower(), text))
    return from_toml(key, text if key.kind == "str" else _number(key, text))


def from_toml(key: Key, value: Any) -> Any:
    """Read a value of a TOML file; raises ConfigError when it is not of the key's type."""
    return _READERS[key.kind](key, value)


def _bool(key: Key, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(key, value)
    return value


def _int(key: Key, value: Any) -> int:
    value = _number(key, value) if isinstance(value, str) and key.unit else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(key, value)
    return value


def _float(key: Key, value: Any) -> float:
    value = _number(key, value) if isinstance(value, str) and key.unit else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(key, value)
    return float(value)


def _str(key: Key, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise wrong(key, value)
    return value


def _list(key: Key, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > LIST_MAX:
        raise wrong(key, value)
    return tuple(_str(key, item) for item in value)


def _tables(key: Key, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > LIST_MAX:
        raise wrong(key, value)
    return tuple(_table(key, item) for item in value)


def _table(key: Key, value: Any) -> Any:
    if not isinstance(value, dict):
        raise wrong(key, value)
    assert key.table is not None, "keys of the kind `tables` carry their dataclass"
    columns = {column.path: column for column in keys(key.table)}
    for name in value:
        if name not in columns:
            raise unknown(f"{key.path}.{name}", (f"{key.path}.{column}" for column in columns))
    return build(key.table, {name: from_toml(columns[name], item) for name, item in value.items()})


def _number(key: Key, value: str) -> Any:
    """Read a number with its unit; what is none is returned as it is, for the error."""
    matched = _QUANTITY.fullmatch(value.removeprefix("-"))
    units: dict[str, Any] = {"bytes": _BYTES, "seconds": _SECONDS}.get(key.unit, {"": 1})
    if matched is None or matched[2] not in units:
        return value
    digits = matched[1]
    number = (float(digits) if "." in digits else int(digits)) * units[matched[2]]
    return -number if value.startswith("-") else number


def _json(key: Key, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{key.path}: expected a JSON list of objects: {error}") from error


_READERS: dict[str, Callable[[Key, Any], Any]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _str,
    "list": _list,
    "tables": _tables,
}
