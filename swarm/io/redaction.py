"""Takes secrets out of texts that we did not write ourselves: errors of libraries, URLs of origins."""

import re

HIDDEN = "***"

_SECRETS = (
    # Authorization: Bearer abc, "authorization": "Basic abc", and the scheme without its header
    (
        re.compile(
            r"\b(bearer|basic|damselfly)(\s+)(?!realm=|authentication\b)[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE
        ),
        rf"\1\2{HIDDEN}",
    ),
    # password=abc, "token": "abc", X-Amz-Signature=abc, sig=abc
    (
        re.compile(
            r"""((?:token|secret|passw(?:or)?d|signature|credential|api[_-]?key|\bsig|\bauth)"""
            r"""["']?\s{0,4}[=:]\s{0,4}["']?)(?!\*)[^\s"'&,;<>)]+""",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)
_USERINFO = re.compile(r"(://[^\s/:@]+:)[^\s/@]+(@)")


def scrub(text: str) -> str:
    """Return the text without what looks like a credential; the rest stays, so that it can be understood."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return hide_userinfo(text)


def hide_userinfo(text: str) -> str:
    """Return the text without the passwords of URLs like https://user:password@host."""
    return _USERINFO.sub(rf"\1{HIDDEN}\2", text)
