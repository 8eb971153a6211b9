"""docs/compatibility.md names tests: they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/compatibility.md").read_text()
REGISTRIES = (ROOT / "tests/e2e/test_registries.py").read_text()


def test_the_files_that_cells_link_to_exist() -> None:
    links = re.findall(r"\]\(\.\./([^)]+)\)", TEXT)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_functions_that_cells_name_exist() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    names = re.findall(r"`(test_\w+)(…?)`", TEXT)
    assert len(names) > 5
    missing = [name for name, cut in names if f"def {name}{'' if cut else '('}" not in tests]
    assert missing == []


def test_the_kinds_and_transcripts_that_cells_name_exist() -> None:
    kinds = set(re.findall(r"`\[(\w+)\]`", TEXT))
    assert kinds >= {"plain", "basic", "token", "cache", "tls", "mtls", "redirect"}
    assert all(f'"{kind}"' in REGISTRIES for kind in kinds)
    folder = ROOT / "tests/contract/transcripts"
    assert {path.stem for path in folder.glob("*.toml")} <= set(re.findall(r"`([\w-]+)`", TEXT))
