"""A missing real part skips its tests with a reason, or fails them where required; nothing else skips."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
RUN_TIMEOUT_S = 60.0
# Who may skip: the marker `needs` alone, whose reasons name the part that is missing.
SKIPPING = {"skip", "skipif", "importorskip", "xfail", "skipTest", "SkipTest"}

NEEDS_NOTHING = "def test_it(): pass\n"
NEEDS_A_PART = "import pytest\n@pytest.mark.needs('absent')\ndef test_it(): pass\n"
NEEDS_A_PRESENT_PART = "import pytest\n@pytest.mark.needs('present')\ndef test_it(): pass\n"
NEEDS_AN_UNKNOWN_PART = "import pytest\n@pytest.mark.needs('unheard-of')\ndef test_it(): pass\n"
SKIPS = "import pytest\ndef test_it(): pytest.skip('not today')\n"
SKIPS_AS_A_WHOLE = "import pytest\npytest.skip('not today', allow_module_level=True)\ndef test_it(): pass\n"


def run(folder: Path, source: str, required: str) -> tuple[int, str]:
    """Runs one test file under this project's conftest; the exit status and the output."""
    shutil.copy(TESTS / "conftest.py", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "real-parts.txt").write_text("# parts\nabsent: no-such-program\npresent: env\n")
    (folder / "test_sample.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_sample.py"],
        cwd=folder,
        env={**os.environ, "DAMSELFLY_REQUIRE_REAL_PARTS": required},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("source", "required", "status", "said"),
    [
        (NEEDS_NOTHING, "1", 0, "1 passed"),
        (NEEDS_A_PART, "", 0, "a real part is missing: no absent"),
        (NEEDS_A_PART, "0", 0, "1 skipped"),
        (NEEDS_A_PART, "1", 1, "a real part is missing: no absent"),
        (NEEDS_A_PRESENT_PART, "1", 0, "1 passed"),
        (NEEDS_AN_UNKNOWN_PART, "", 1, "unheard-of: not in real-parts.txt"),
        (SKIPS, "", 0, "1 skipped"),
        (SKIPS, "1", 1, "skipped, though DAMSELFLY_REQUIRE_REAL_PARTS is set"),
        (SKIPS_AS_A_WHOLE, "1", 1, "skipped, though DAMSELFLY_REQUIRE_REAL_PARTS is set"),
    ],
)
def test_a_skip_is_expected_or_fails(
    tmp_path: Path, source: str, required: str, status: int, said: str
) -> None:
    exit_status, output = run(tmp_path, source, required)
    assert said in output
    assert (exit_status != 0) == (status != 0), output


def test_only_missing_parts_are_skipped() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(TESTS.rglob("*.py"))
        if path != TESTS / "conftest.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in SKIPPING and "pytest" in ast.unparse(node)
    ]
    assert not offenders, f"use @pytest.mark.needs: {offenders}"


def test_every_part_that_a_test_needs_gets_installed() -> None:
    listed = {line.partition(":")[0] for line in (TESTS / "real-parts.txt").read_text().splitlines()}
    needed = {
        argument.value
        for path in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.needs"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    assert needed <= listed
