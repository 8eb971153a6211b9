"""Starts Damselfly's programs: the one module that an installation shows to other projects.

A wheel keeps the packages in the private folder `_damselfly`, so that names like `scheduler` never meet those
of other projects in site-packages. In a checkout that folder does not exist, and the packages are importable.
`python -m damselfly_launcher PROGRAM ...` starts a program where the console scripts are not on PATH.
"""

import importlib
import sys
from pathlib import Path

MODULES = {
    "dfbench": "benchmarks.__main__",
    "dfctl": "dfdaemon.io.dfctl",
    "dfdaemon": "dfdaemon.__main__",
    "dfget": "dfdaemon.io.dfget",
    "dfscheduler": "scheduler.__main__",
}


def launch(program: str) -> int:
    """Runs `main()` of the program's module; its return value is the exit status."""
    private = Path(__file__).resolve().with_name("_damselfly")
    if private.is_dir() and str(private) not in sys.path:
        sys.path.insert(0, str(private))
    return int(importlib.import_module(MODULES[program]).main() or 0)


def dfbench() -> int:
    """Benchmarks, simulation and the demonstration."""
    return launch("dfbench")


def dfctl() -> int:
    """Asks the local daemon what it holds and why."""
    return launch("dfctl")


def dfdaemon() -> int:
    """The daemon of one node."""
    return launch("dfdaemon")


def dfget() -> int:
    """Pulls one image or blob through the local daemon."""
    return launch("dfget")


def dfscheduler() -> int:
    """The scheduler of the cluster."""
    return launch("dfscheduler")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in MODULES:
        sys.exit(f"usage: python -m damselfly_launcher {{{','.join(MODULES)}}} [ARGUMENT ...]")
    sys.argv = sys.argv[1:]
    sys.exit(launch(sys.argv[0]))
