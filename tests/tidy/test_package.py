"""What is installed: programs that start, dependencies with a reason, nothing that gets in the way."""

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import damselfly_launcher
from tests.tidy.measure import read_modules

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMAND_TIMEOUT_S = 60.0
# Builtins that reach outside; what is imported is watched by ruff and import-linter.
REACHING_OUT = {"open", "print", "input", "breakpoint", "exec", "eval", "__import__"}


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")


def floor_of(package: str) -> tuple[int, ...]:
    (requirement,) = [text for text in PROJECT["dependencies"] if name_of(text) == package]
    found = re.search(r">=([\d.]+)", requirement)
    assert found, f"{package} has no lower bound"
    return tuple(map(int, found[1].split(".")))


@pytest.mark.parametrize("program", sorted(damselfly_launcher.MODULES))
def test_every_program_is_installed_and_starts_somewhere(program: str) -> None:
    (entry,) = importlib.metadata.distribution("damselfly").entry_points.select(name=program)
    assert entry.load() is getattr(damselfly_launcher, program)
    assert (Path(sys.executable).parent / program).exists()
    assert callable(importlib.import_module(damselfly_launcher.MODULES[program]).main)


def test_no_program_is_forgotten() -> None:
    assert set(PROJECT["scripts"]) == set(damselfly_launcher.MODULES)


def test_every_dependency_is_locked_and_earns_its_place() -> None:
    requirements = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    locked = {
        name_of(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0] != "#"
    }
    documented = set(re.findall(r"[\w-]+", (ROOT / "docs/dependencies.md").read_text()))
    assert [text for text in requirements if name_of(text) not in locked] == []
    assert [text for text in requirements if name_of(text) not in documented] == []


def test_generated_code_runs_on_the_oldest_libraries_allowed() -> None:
    for path in (ROOT / "swarm/rpc").glob("*_pb2.py"):
        version = re.search(r"Domain\.PUBLIC,\s+(\d+),\s+(\d+),\s+(\d+)", path.read_text())
        assert version, path
        assert floor_of("protobuf") >= tuple(map(int, version.groups()))
    for path in (ROOT / "swarm/rpc").glob("*_pb2_grpc.py"):
        version = re.search(r"GRPC_GENERATED_VERSION = '(\d+)\.(\d+)\.(\d+)'", path.read_text())
        assert version, path
        assert floor_of("grpcio") >= tuple(map(int, version.groups()))


def test_pure_modules_call_nothing_that_reaches_out() -> None:
    offenders = [
        f"{module.name}:{node.lineno}"
        for module in read_modules(ROOT, ["swarm", "scheduler", "dfdaemon", "benchmarks"])
        if {"io", "rpc", "__main__"}.isdisjoint(module.name.split("."))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REACHING_OUT
    ]
    assert offenders == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=COMMAND_TIMEOUT_S)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_a_wheel_shows_one_module_and_one_private_folder(wheel: Path) -> None:
    names = {path.name for path in wheel.iterdir() if path.suffix != ".dist-info"}
    assert names == {"_damselfly", "damselfly_launcher.py"}
    assert {path.name for path in (wheel / "_damselfly").iterdir()} == {
        "swarm",
        "scheduler",
        "dfdaemon",
        "benchmarks",
    }


def test_the_launcher_finds_the_private_folder(wheel: Path) -> None:
    (wheel / "_damselfly/scheduler/__main__.py").write_text("def main(): print(__file__); return 7\n")
    command = [sys.executable, "-m", "damselfly_launcher", "dfscheduler"]
    done = subprocess.run(
        command, cwd=wheel, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (7, str(wheel / "_damselfly/scheduler/__main__.py"))
