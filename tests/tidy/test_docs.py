"""What the documents say of tests: each that they name exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"(?<![\w/])(tests/[\w/]+\.py)(?:::(\w+))?")


def named(document: Path) -> list[tuple[str, str]]:
    """The files of tests that a document names, each with a function of it, or with none."""
    return [(match[1], match[2] or "") for match in NAMED.finditer(document.read_text())]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    missing = [
        f"{file}::{function}"
        for file, function in named(document)
        if not (ROOT / file).exists() or (function and function not in functions(ROOT / file))
    ]
    assert not missing


def test_the_search_finds_some() -> None:
    assert len(named(ROOT / "docs/access.md")) > 20
