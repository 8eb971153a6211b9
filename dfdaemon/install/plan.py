"""What is going to be changed on a node, as a value: shown by --dry-run, carried out otherwise."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["marked", "daemon.json"]
"""How our part is found in a file that was edited since: by its marks, or as one of Docker's mirrors."""

_SECRET = re.compile(
    r"(?i)^(?P<name>[ +-]?[ \t]*[\"']?(?:password|passwd|auth|identity_?token|token|secret|authorization)[\"']?"
    r"[ \t]*[:=][ \t]*)(?P<value>\S.*)$",
    re.MULTILINE,
)


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
    lines = difflib.unified_diff(
        (before or "").splitlines(keepends=True), (after or "").splitlines(keepends=True), old, new
    )
    return hide_secrets("".join(_ended(lines)))


def _ended(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def hide_secrets(text: str) -> str:
    """Return the text without the values of passwords and tokens."""
    return _SECRET.sub(lambda found: f"{found['name']}(not shown)", text)
