"""What is written in the repository leads somewhere, and speaks of the project alone."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIT_TIMEOUT_S = 30.0
NOT_TRACKED = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"}

# How and where the project is worked on is no concern of its readers, and which package index an installation
# uses is its machine's choice.
FOREIGN_WORDS = [
    r"(?<![\w.~])/work/",
    r"(?<![\w.~])/tmp/brief",
    r"\b(this|the|an earlier|a later) session\b(?! (id|key|ticket|token))",
    r"\bissue #?\d",
    r"\bissue [A-Z]\b",
    r"\bthe (lead|helper|brief|CEO|workplace)\b",
    r"\b(DESIGN|FIELD|STYLE|TESTBED|DATA-PLANE|CONTRACTS|COMMON)\.md\b",
    r"\bshared/shape\.py\b",
    r"\b(TODO|FIXME|XXX)\b",
    r"\b(pypi\.org|pythonhosted\.org|deb\.debian\.org|proxy\.golang\.org|registry\.npmjs\.org)\b",
]
FOREIGN = re.compile("|".join(FOREIGN_WORDS))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MAY_NAME_THEM = {Path("tests/tidy/test_text.py"), Path("LICENSE")}


def tracked() -> list[Path]:
    """The files of the repository; without git those of the folder."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        listed = subprocess.run(
            command, cwd=ROOT, capture_output=True, check=True, timeout=GIT_TIMEOUT_S
        ).stdout
        paths = [Path(name) for name in listed.decode().split("\0") if name]
    else:
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*") if NOT_TRACKED.isdisjoint(path.parts)]
    return [path for path in paths if (ROOT / path).is_file()]


def text_of(path: Path) -> str:
    """The file's text; nothing of files that are not text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def foreign_words(text: str) -> list[str]:
    """The words in it that don't speak of the project."""
    return [match.group() for match in FOREIGN.finditer(text)]


def test_the_project_speaks_of_itself_alone() -> None:
    found = {
        str(path): words
        for path in tracked()
        if path not in MAY_NAME_THEM and (words := foreign_words(text_of(path)))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text", ["see /work/main", "as issue 2 says", "in this session", "# TODO", "issue #7"]
)
def test_foreign_words_are_found(text: str) -> None:
    assert foreign_words(text)


@pytest.mark.parametrize(
    "text",
    [
        "aiohttp.ClientSession()",
        "runtime/work/dir",
        "issues a lease",
        "the session key",
        "the leader",
        "~/work/",
    ],
)
def test_the_fields_own_words_are_not_foreign(text: str) -> None:
    assert foreign_words(text) == []


def dead_links(path: Path, text: str) -> list[str]:
    """Relative links that lead to no file, or beyond its last line."""
    dead = []
    for target in LINK.findall(FENCE.sub("", text)):
        name, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (ROOT / path).parent / name if name else ROOT / path
        line = re.fullmatch(r"L(\d+)(-L\d+)?", anchor)
        if not file.exists() or (line and int(line[1]) > len(file.read_text().splitlines())):
            dead.append(target)
    return dead


def test_links_in_the_documentation_lead_somewhere() -> None:
    dead = {
        str(path): links
        for path in tracked()
        if path.suffix == ".md" and (links := dead_links(path, text_of(path)))
    }
    assert dead == {}


@pytest.mark.parametrize(
    ("link", "is_dead"),
    [
        ("[here](pyproject.toml)", False),
        ("[there](https://example.org/x)", False),
        ("[up](docs/no-such-file.md)", True),
        ("[line](LICENSE#L3)", False),
        ("[line](LICENSE#L9000)", True),
        ("[part](#a-heading)", False),
    ],
)
def test_a_dead_link_is_found(link: str, is_dead: bool) -> None:
    assert bool(dead_links(Path("README.md"), link)) is is_dead
