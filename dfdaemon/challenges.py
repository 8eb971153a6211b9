"""What a registry asks of those who are not allowed yet: WWW-Authenticate (RFC 9110, section 11.6.1).

A header may hold several challenges, and commas inside quoted parameters:
`Bearer realm="...",scope="repository:a:pull,push"`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

CHALLENGE_CHARS_MAX = 8192
"""A challenge is a line of a few hundred characters; more is not read."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's word for a word
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|$)')
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|\s*,|$)(?!=)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: `scheme` in lower case, parameter names in lower case, quotes removed."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read the challenges of all WWW-Authenticate headers; what is malformed ends its header quietly."""
    return [challenge for text in headers for challenge in _parse(text[:CHALLENGE_CHARS_MAX])]


def bearer_challenge(headers: Iterable[str]) -> Challenge | None:
    """Return the first Bearer challenge that names a realm."""
    for challenge in parse_challenges(headers):
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            return challenge
    return None


def _parse(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    place = 0
    while place < len(text):
        parameter = _PARAMETER.match(text, place)
        if parameter is not None and found:
            value = parameter[3] if parameter[2] is None else re.sub(r"\\(.)", r"\1", parameter[2])
            found[-1].parameters.setdefault(parameter[1].lower(), value)
            place = parameter.end()
            continue
        scheme = _SCHEME.match(text, place)
        if scheme is None:
            break
        found.append(Challenge(scheme[1].lower(), {}))
        place = scheme.end()
    return found
