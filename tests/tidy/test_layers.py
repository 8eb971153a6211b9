"""The rules on imports hold by tools, and the tools fire: each rule is broken once in a copy of the tree."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
PACKAGES = ("swarm", "scheduler", "dfdaemon", "benchmarks")
BANNED = sorted(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["flake8-tidy-imports"][
        "banned-api"
    ]
)
COMMAND_TIMEOUT_S = 60.0

PURE = "Pure modules import no I/O, neither ours nor anybody's"
COMPONENTS = "Components stand on swarm and know nothing of each other"
START = "Only a program's start stands above its io"
GENERATED = "Generated messages know nothing of those who send them"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree as the tools see it."""
    for package in (*PACKAGES, "tests/tidy"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    program = str(PROGRAMS / command[0])
    return subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def ruff(folder: Path, path: str, source: str) -> subprocess.CompletedProcess[str]:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(source)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return run(folder, "ruff", "check", "--no-cache", "--output-format", "concise", path)


@pytest.mark.parametrize(
    "path", ["swarm/offender.py", "dfdaemon/offender.py", "benchmarks/simulator/offender.py"]
)
def test_ruff_bans_every_way_out_of_a_pure_module(tmp_path: Path, path: str) -> None:
    found = ruff(tmp_path, path, '"""Offends."""\n\n' + "".join(f"import {name}\n" for name in BANNED))
    assert found.returncode == 1
    assert [name for name in BANNED if f"TID251 `{name}` is banned: pure module" not in found.stdout] == []


@pytest.mark.parametrize(
    "statement", ["from time import monotonic", "import os.path", "from google.protobuf import message"]
)
def test_ruff_bans_parts_of_what_is_banned(tmp_path: Path, statement: str) -> None:
    assert "TID251" in ruff(tmp_path, "scheduler/offender.py", statement + "\n").stdout


@pytest.mark.parametrize(
    "path", ["dfdaemon/io/inside.py", "scheduler/__main__.py", "benchmarks/io/deep/inside.py"]
)
def test_ruff_lets_io_be_io(tmp_path: Path, path: str) -> None:
    assert "TID251" not in ruff(tmp_path, path, "import asyncio\n").stdout


def test_ruff_finds_tangles_and_what_is_undocumented(tmp_path: Path) -> None:
    branches = "".join(f"    if x == {i}:\n        return {i}\n" for i in range(10))
    found = ruff(tmp_path, "swarm/offender.py", f"def f(x: int) -> int:\n{branches}    return x\n").stdout
    assert "C901 `f` is too complex (11 > 10)" in found
    assert "D100" in found
    assert "D103" in found


def broken(folder: Path) -> tuple[int, set[str], str]:
    """The exit status of import-linter, the contracts that it found broken, and what it printed."""
    done = run(folder, "lint-imports", "--no-cache")
    names = {name for name in (PURE, COMPONENTS, START, GENERATED) if f"{name} BROKEN" in done.stdout}
    return done.returncode, names, done.stdout + done.stderr


def test_the_tree_keeps_its_contracts(copy: Path) -> None:
    status, names, output = broken(copy)
    assert (status, names) == (0, set()), output


@pytest.mark.parametrize(
    ("path", "statement", "contract"),
    [
        ("swarm/offender.py", "import asyncio", PURE),
        ("swarm/offender.py", "import swarm.rpc", PURE),
        ("scheduler/offender.py", "from scheduler import io", PURE),
        ("dfdaemon/offender.py", "def f():\n    import dfdaemon.io", PURE),
        ("benchmarks/simulator/offender.py", "import benchmarks.io", PURE),
        ("scheduler/offender.py", "import dfdaemon", COMPONENTS),
        ("dfdaemon/io/offender.py", "import scheduler", COMPONENTS),
        ("swarm/io/offender.py", "import dfdaemon", COMPONENTS),
        ("scheduler/offender.py", "import benchmarks", COMPONENTS),
        ("dfdaemon/io/offender.py", "import dfdaemon.__main__", START),
        ("swarm/rpc/offender.py", "import swarm.io", GENERATED),
    ],
)
def test_import_linter_names_the_broken_contract(
    copy: Path, path: str, statement: str, contract: str
) -> None:
    (copy / "dfdaemon/__main__.py").touch()
    (copy / path).write_text(statement + "\n")
    status, names, output = broken(copy)
    assert status == 1
    assert contract in names
    assert path.removesuffix(".py").replace("/", ".") in output
