"""What is going to be changed on a node, as a value: shown by --dry-run, carried out otherwise."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["marked", "daemon.json"]
"""How our part is found in a file that was edited since: by its marks, or as one of Docker's mirrors."""

_SECRET = re.compile(
    r"(?:^|(?<=[\s{,(\[.\"']))(?P<name>[\"']?"
    r"(?:auth|[\w.-]*(?:passw(?:or)?d|token|secret|authorization|credential|cookie|api[_-]?key)[\w.-]*)"
    r"[\"']?[ \t]*[:=][ \t]*)"
    r"(?:(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'[^']*')(?=\s*(?:[,}\])#]|$))|(?P<rest>\S.*|$))",
    re.IGNORECASE,
)
"""A key of TOML, YAML or JSON that has a secret, also in a table on one line, and its value."""
_USERINFO = re.compile(r"(?<=://)[^\s/\"']+(?=@)")
"""The account in a URL; a token may stand there without a password."""
HIDDEN = "(not shown)"


@dataclass(frozen=True, slots=True)
class Edit:
    """One file: its text without our part (None: there is no such file), and the text that it is to have.

    `restarts`: the runtime reads it when it starts or reloads, and not at every pull.
    """

    path: str
    base: str | None
    after: str
    kind: Kind = "marked"
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """How a runtime is made to read its configuration again, and what that does to what runs."""

    command: tuple[str, ...]
    effect: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All edits of one runtime, and what the user is told about them."""

    edits: tuple[Edit, ...]
    notes: tuple[str, ...] = ()


def unified_diff(path: str, before: str | None, after: str | None) -> str:
    """Return the change of one file in diff's unified form; None is a file that does not exist.

    Values that look like secrets are not shown.
    """
    old = "/dev/null" if before is None else f"a{path}"
    new = "/dev/null" if after is None else f"b{path}"
    was, becomes = (hide_secrets(text or "").splitlines(keepends=True) for text in (before, after))
    shown = "".join(_ended(difflib.unified_diff(was, becomes, old, new)))
    if not shown and before != after:
        return f"--- {old}\n+++ {new}\n@@ the change is in a line with a secret: {HIDDEN} @@\n"
    return shown


def _ended(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def hide_secrets(text: str) -> str:
    """Return a file's text without the values of passwords and tokens: rather too little of it than too much.

    A value that is not in quotes is hidden up to the end of its line, and with what is indented below it.
    """
    shown = []
    hidden_below: int | None = None
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if hidden_below is not None and bare and indent > hidden_below:
            shown.append(f"{line[:indent]}{HIDDEN}\n")
            continue
        if bare:
            hidden_below = indent if any(map(_goes_on, _SECRET.finditer(line))) else None
        shown.append(_SECRET.sub(_without_value, _USERINFO.sub(HIDDEN, line)))
    return "".join(shown)


def _goes_on(found: re.Match[str]) -> bool:
    """Say whether the value may go on below; a mapping below `auth:` has keys of its own that are looked at."""
    is_mapping = found["rest"] == "" and found["name"].strip(" \t\"':=").lower() == "auth"
    return found["quoted"] is None and not is_mapping


def _without_value(found: re.Match[str]) -> str:
    return found["name"] if found["rest"] == "" else f"{found['name']}{HIDDEN}"
