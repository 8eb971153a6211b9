"""Fills a process's configuration from its TOML file, its environment and its flags; the later ones win.

Every key stands in all three places: `peer.listen` is `listen` of the table `[peer]`, DFDAEMON_PEER_LISTEN, and
--peer.listen or --peer-listen. What is not known, or not of the right type, is an error that says where it stands.
"""

import argparse
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from swarm.errors import ConfigError
from swarm.io.config_render import render, toml_value
from swarm.io.config_schema import Key, build, keys
from swarm.io.config_values import from_text, from_toml, unknown
from swarm.io.redaction import hide_userinfo
from swarm.version import VERSION

DIRECTORY = Path("/etc/damselfly")
"""Where a file named for the program is read, if it is there and no other is named."""
FILE_BYTES_MAX = 1 << 20
"""A larger file is not a configuration."""
SERVICE_LINKS = re.compile(r"_SERVICE_(HOST|PORT(_.*)?)|_PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?")
"""Ends of the variables that Kubernetes sets for a Service; one named `dfdaemon` would have our prefix."""

METAVARS = {
    ("bool", ""): "BOOL",
    ("int", ""): "N",
    ("int", "bytes"): "BYTES",
    ("float", ""): "NUMBER",
    ("float", "seconds"): "SECONDS",
    ("str", ""): "TEXT",
    ("list", ""): "A,B",
    ("tables", ""): "JSON",
}
"""What --help shows for a value, by kind and unit."""

T = TypeVar("T")


def load(
    config_class: type[T],
    argv: Sequence[str] | None,
    prog: str,
    description: str,
    environ: Mapping[str, str] = os.environ,
) -> T:
    """Return the configuration of a program, or raise ConfigError, which says what to change and where.

    `argv` without the program's name; None means this process's. --help, --version and --print-config end the
    program (SystemExit). The variables are those with the program's name in upper case as prefix.
    """
    known = {key.path: key for key in keys(config_class)}
    options = _parse_flags(known, argv, prog, description)
    sources = _Sources(known)
    file = _file(options, prog, environ)
    if file is not None:
        sources.read_file(file)
    sources.read_environment(environ, prog.upper())
    sources.read_flags(options)
    config = sources.build(config_class)
    if options["print_config"]:
        sys.stdout.write(render(config, sources.origins))
        raise SystemExit(0)
    return config


class _Sources:
    """Values by path, and where each came from."""

    def __init__(self, known: Mapping[str, Key]) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self._known = known

    def read_file(self, file: Path) -> None:
        """Take the values of a TOML file."""
        self._read_table(_parse_file(file), "", f"from {file}")

    def _read_table(self, table: Mapping[str, Any], section: str, origin: str) -> None:
        for name, value in table.items():
            path = f"{section}.{name}" if section else name
            if path in self._known:
                self._take(path, value, origin, from_toml)
            elif not any(key.startswith(f"{path}.") for key in self._known):
                raise _at(origin, unknown(path, self._known))
            elif isinstance(value, dict):
                self._read_table(value, path, origin)
            else:
                shown = f"{path} = {value!r} is not allowed: expected a table"
                raise _at(origin, ConfigError(shown))

    def read_environment(self, environ: Mapping[str, str], prefix: str) -> None:
        """Take the values of variables with our prefix."""
        variables = {key.variable(prefix): path for path, key in self._known.items()}
        for name, text in environ.items():
            if name in variables:
                self._take(variables[name], text, f"from the environment variable {name}", from_text)
            elif _is_ours(name, prefix):
                raise unknown(name, variables, "environment variable")

    def read_flags(self, options: Mapping[str, Any]) -> None:
        """Take the values of flags."""
        for path in options.keys() & self._known.keys():
            self._take(path, options[path], f"from the flag --{path}", from_text)

    def _take(self, path: str, value: Any, origin: str, read: Callable[[Key, Any], Any]) -> None:
        try:
            self.values[path] = read(self._known[path], value)
        except ConfigError as error:
            raise _at(origin, error) from error
        self.origins[path] = origin

    def build(self, config_class: type[T]) -> T:
        """Make the configuration; an error of a value says where that came from."""
        try:
            return build(config_class, self.values)
        except ConfigError as error:
            named = [path for path in self.origins if str(error).startswith(f"{path} = ")]
            raise _at(self.origins[named[0]], error) if named else error from error


def _at(origin: str, error: ConfigError) -> ConfigError:
    return ConfigError(f"{hide_userinfo(str(error))} ({origin})")


def _is_ours(name: str, prefix: str) -> bool:
    tail = name.removeprefix(prefix)
    return tail.startswith("_") and tail != name and tail != "_CONFIG" and not SERVICE_LINKS.search(tail)


def _file(options: Mapping[str, Any], prog: str, environ: Mapping[str, str]) -> Path | None:
    named = options["config"] or environ.get(f"{prog.upper()}_CONFIG")
    if named:
        return Path(named)
    standard = DIRECTORY / f"{prog}.toml"
    return standard if is_there(standard) else None


def is_there(file: Path) -> bool:
    """Say whether a configuration file exists; raises ConfigError when this user may not know."""
    try:
        return file.is_file()
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be looked for ({error.strerror}): let this user search its folders, or name another "
            "file with --config"
        ) from error


def _parse_file(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ConfigError(f"{file} is larger than {FILE_BYTES_MAX} bytes: is it a configuration file?")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


class _Parser(argparse.ArgumentParser):
    """Raises ConfigError instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line."""
        raise ConfigError(message)


def _parse_flags(
    known: Mapping[str, Key], argv: Sequence[str] | None, prog: str, description: str
) -> dict[str, Any]:
    usage = "%(prog)s [--config FILE] [--KEY VALUE ...]"
    parser = _Parser(prog=prog, description=description, usage=usage, allow_abbrev=False)
    standard = DIRECTORY / f"{prog}.toml"
    parser.add_argument(
        "--config", metavar="FILE", help=f"configuration file (TOML); {standard} if it exists"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="show the effective configuration and end"
    )
    parser.add_argument("--version", action="version", version=f"{prog} {VERSION}")
    for key in known.values():
        _add_flag(parser, key)
    words = sys.argv[1:] if argv is None else argv
    flags = [key.flag for key in known.values()]
    options, rest = parser.parse_known_args(_spelt_out(words, flags))
    if rest:
        raise unknown(rest[0].partition("=")[0], [*flags, "--config", "--print-config"], "argument")
    return vars(options)


def _spelt_out(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return the words with each flag as it is declared: --peer-children-max is --peer.children_max."""
    dashes = str.maketrans("._", "--")
    declared = {flag.translate(dashes): flag for flag in flags}
    assert len(declared) == len(flags), "two keys that differ by punctuation alone have the same flag"
    parts = (word.partition("=") for word in words)
    return [declared.get(name.translate(dashes), name) + equals + value for name, equals, value in parts]


def _add_flag(parser: argparse.ArgumentParser, key: Key) -> None:
    default = "" if key.kind == "tables" else f" Default: {toml_value(key, key.default)}"
    value: dict[str, Any] = {"nargs": "?", "const": "true"} if key.kind == "bool" else {}
    parser.add_argument(
        key.flag,
        dest=key.path,
        default=argparse.SUPPRESS,
        metavar=METAVARS[key.kind, key.unit],
        help=f"{key.help}{default}".replace("%", "%%"),
        **value,
    )
