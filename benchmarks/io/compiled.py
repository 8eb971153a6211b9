"""Compiles the machines and the simulator with mypyc: the same results, in less than half the time.

A build is named by the fingerprint of all that went into it, so an old one is never run; `make clean` removes all.
"""

import dis
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).parents[2]
BUILDS = Path(sys.prefix) / "compiled"
PACKAGES = ("benchmarks", "scheduler", "dfdaemon", "swarm")
START = "benchmarks.simulator.cluster"
INTERPRETED = {"swarm.errors", "swarm.settings", "dfdaemon.config", "scheduler.config"}
"""What mypyc cannot compile: exceptions with fields of their own, and fields made by functions. They run seldom."""
SETUP = """
from mypyc.build import mypycify
from setuptools import setup
files = {files!r}
options = ["--explicit-package-bases", "--ignore-missing-imports"]
setup(name="simulator", packages=[], ext_modules=mypycify(options + files, opt_level="3", debug_level="0"))
"""


class CannotCompile(Exception):
    """The simulator cannot be compiled here; says why."""


def run(arguments: list[str]) -> int:
    """Run dfbench with these arguments on a compiled build; return its exit status. Raises CannotCompile."""
    environment = os.environ | {"PYTHONPATH": str(build())}
    return subprocess.run(
        [sys.executable, "-P", "-m", "benchmarks", *arguments], env=environment, check=False
    ).returncode


def build() -> Path:
    """Return the folder of a build of the sources as they are now; make it if there is none. Raises CannotCompile."""
    modules = closure(ROOT, START)
    done = BUILDS / fingerprint(modules.values())
    if not done.exists():
        _make(done, modules)
    _copy_sources(done)  # what is not compiled may have changed
    return done


def _make(done: Path, modules: dict[str, Path]) -> None:
    if shutil.which("gcc") is None:
        raise CannotCompile("--compile needs a C compiler: apt-get install gcc libc6-dev")
    print(f"compiling {len(modules)} modules, once for these sources (a minute or two)", file=sys.stderr)
    scratch = BUILDS / f"building-{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    _copy_sources(scratch)
    files = sorted(str(path.relative_to(ROOT)) for name, path in modules.items() if name not in INTERPRETED)
    _compile(scratch, files)
    try:
        scratch.rename(done)
    except OSError:
        shutil.rmtree(scratch)  # another run was faster


def _copy_sources(folder: Path) -> None:
    for package in PACKAGES:
        skipped = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / package, folder / package, ignore=skipped, dirs_exist_ok=True)


def _compile(folder: Path, files: list[str]) -> None:
    (folder / "setup.py").write_text(SETUP.format(files=files))
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder)
        raise CannotCompile(f"mypyc failed:\n{(done.stdout + done.stderr)[-2000:]}")
    shutil.rmtree(folder / "build")


def closure(root: Path, start: str) -> dict[str, Path]:
    """Return the files of a module, and of all of ours that it imports, by the names of the modules."""
    found: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        file = root / (name.replace(".", "/") + ".py")
        if name in found or not file.is_file():
            continue
        found[name] = file
        waiting += _imported(compile(file.read_text(), str(file), "exec"))
    return found


def _imported(code: CodeType) -> Iterable[str]:
    """Return the names of modules that a module may import, and of what it takes from them."""
    module = ""
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            module = step.argval
            yield module
        elif step.opname == "IMPORT_FROM":
            yield f"{module}.{step.argval}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imported(constant)


def fingerprint(files: Iterable[Path]) -> str:
    """Return a name for what a build is made of: the sources, Python and the compiler."""
    digest = hashlib.sha256(f"{sys.version} {version('mypy')}".encode())
    for path in sorted(files):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
