"""Makes a runtime read its configuration again, and remembers until then that it has to.

What is needed stands in a file below /run, which a restart of the machine empties: that restarts the runtime, too.
"""

import subprocess

from dfdaemon.install import containerd, crio, docker, k3s
from dfdaemon.install.plan import Restart
from dfdaemon.io.install_files import NodeFiles
from swarm.errors import ConfigError

FOLDER = "/run/damselfly-restart"
RESTART_S = 120.0
"""systemd gives a service 90 s to stop before it kills it."""


def needed(files: NodeFiles, runtime: str) -> bool:
    """Say whether files have changed that the runtime was not made to read since; not whether somebody else did so."""
    return files.exists(_mark(runtime))


def remember(files: NodeFiles, runtime: str) -> None:
    """Write down, before files change, that the runtime has to read them; raises ConfigError."""
    files.write(_mark(runtime), f"{' '.join(how(files, runtime).command)}\n")


def tell(files: NodeFiles, runtime: str, before: bool) -> None:
    """Say what is to be done; `before`: an earlier run has said so already."""
    restart = how(files, runtime)
    earlier = "still needed, if nobody has done it since" if before else "needed"
    print(f"{earlier}: {' '.join(restart.command)} ({restart.effect}); with --restart this is done")


def carry_out(files: NodeFiles, runtime: str) -> None:
    """Restart or reload the runtime; raises ConfigError, and then it stays needed."""
    restart = how(files, runtime)
    command = " ".join(restart.command)
    try:
        subprocess.run(restart.command, check=True, timeout=RESTART_S)  # noqa: S603 - fixed words, no shell
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"the files are changed, but {command} failed ({error}): run it by hand, or this again"
        ) from error
    files.delete(_mark(runtime))
    files.delete_folder(FOLDER)
    print(f"done: {command}")


def how(files: NodeFiles, runtime: str) -> Restart:
    """Return how the runtime of this node is made to read its configuration again."""
    if runtime == "k3s":
        return k3s.AGENT if files.exists(k3s.AGENT_UNIT) else k3s.SERVER
    return {"containerd": containerd.RESTART, "crio": crio.RESTART, "docker": docker.RESTART}[runtime]


def _mark(runtime: str) -> str:
    return f"{FOLDER}/{runtime}"
