"""The keys of a process's configuration, read from the dataclasses that declare them (swarm/settings.py)."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Kind = Literal["bool", "int", "float", "str", "list", "tables"]
Unit = Literal["", "bytes", "seconds"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. `path` is its place in the TOML file, such as `peer.listen`."""

    path: str
    kind: Kind
    unit: Unit
    default: Any
    help: str
    table: type | None = None
    """For `tables`: the dataclass of one."""

    @property
    def section(self) -> str:
        """The table of the TOML file that the key stands in; empty at the top."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The key within its section."""
        return self.path.rpartition(".")[2]

    @property
    def flag(self) -> str:
        """How the key is written on a command line; dots and underscores may be dashes."""
        return f"--{self.path}"

    def variable(self, prefix: str) -> str:
        """Return the environment variable of the key."""
        return f"{prefix}_{self.path.replace('.', '_').upper()}"


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the TOML file, with what it is for."""

    path: str
    help: str


def keys(config_class: type, section: str = "") -> list[Key]:
    """Return all keys in the order in which a TOML file may hold them: those of a table before its subtables."""
    own: list[Key] = []
    nested: list[Key] = []
    for field, annotation in _fields(config_class):
        path = f"{section}.{field.name}" if section else field.name
        if _is_section(annotation):
            nested += keys(annotation, path)
        else:
            own.append(_key(path, annotation, field))
    return sorted(own, key=lambda key: key.kind == "tables") + nested


def sections(config_class: type, section: str = "") -> Iterator[Section]:
    """Yield the tables that hold keys, in the order of `keys`."""
    for field, annotation in _fields(config_class):
        if _is_section(annotation):
            path = f"{section}.{field.name}" if section else field.name
            yield Section(path, field.metadata["help"])
            yield from sections(annotation, path)


def build(config_class: type[T], values: Mapping[str, Any], section: str = "") -> T:
    """Make a configuration of the values by path; what is missing keeps its default. Raises ConfigError."""
    arguments: dict[str, Any] = {}
    for field, annotation in _fields(config_class):
        path = f"{section}.{field.name}" if section else field.name
        if _is_section(annotation):
            arguments[field.name] = build(annotation, values, path)
        elif path in values:
            arguments[field.name] = values[path]
    return config_class(**arguments)


def value_at(config: Any, path: str) -> Any:
    """Return the value of a key in a configuration."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def _fields(config_class: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        yield field, hints[field.name]


def _is_section(annotation: Any) -> bool:
    return dataclasses.is_dataclass(annotation)


def _key(path: str, annotation: Any, field: dataclasses.Field[Any]) -> Key:
    kind, table = _kind(annotation)
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return Key(path, kind, _unit(field.name, kind), default, field.metadata["help"], table)


def _kind(annotation: Any) -> tuple[Kind, type | None]:
    simple: dict[Any, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}
    if annotation in simple:
        return simple[annotation], None
    assert get_origin(annotation) is tuple, f"a setting of type {annotation} cannot be read from a file"
    item = get_args(annotation)[0]
    return ("list", None) if item is str else ("tables", item)


def _unit(name: str, kind: Kind) -> Unit:
    if kind == "int" and "bytes" in name.split("_"):
        return "bytes"
    return "seconds" if kind == "float" and name.endswith("_s") else ""
