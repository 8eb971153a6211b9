"""Our part of somebody else's configuration file: a block of lines between two comments.

What a block replaces stands in it as comments, so that a file which was edited since can be given back without our
part. TOML and YAML share this form; both take comment lines anywhere between two lines of a table or mapping.
"""

import re
from collections.abc import Sequence

BEGIN = "# damselfly: begin (`dfdaemon unconfigure` takes this out again)"
END = "# damselfly: end"
WAS = "# was: "

_BLOCK = re.compile(
    r"^[ \t]*# damselfly: begin\b[^\n]*\n"
    r"(?P<body>(?:(?![ \t]*# damselfly: )[^\n]*\n)*)"
    r"[ \t]*# damselfly: end[ \t\r]*\n?",
    re.MULTILINE,
)
_WAS = re.compile(rf"^[ \t]*{WAS}(?P<line>[^\n]*\n)", re.MULTILINE)


def block(lines: Sequence[str], indent: str = "", was: Sequence[str] = ()) -> str:
    """Return our lines as a marked block, every line with its end; `was` are the lines that it replaces."""
    kept = [WAS + line.rstrip("\r\n") for line in was]
    return "".join(f"{indent}{line}\n" for line in (BEGIN, *kept, *lines, END))


def marked(text: str) -> bool:
    """Say whether the text has a whole block of ours."""
    return _BLOCK.search(text) is not None


def without_blocks(text: str) -> str:
    """Return the text as it was before our blocks came into it."""
    return _BLOCK.sub(lambda found: "".join(_WAS.findall(found["body"])), text)
