"""What `dfdaemon configure docker` changes: `registry-mirrors` in daemon.json."""

from collections.abc import Mapping

from dfdaemon.install.daemon_json import KEY, PATH, with_mirror
from dfdaemon.install.plan import Edit, Plan, Restart
from swarm.errors import ConfigError

FLAG = "--registry-mirror"
UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/etc/systemd/system/docker.service.d",
    "/lib/systemd/system",
    "/etc/default",
)
"""Where dockerd's flags may be set: its unit, drop-ins of it, and Debian's /etc/default/docker."""
RESTART = Restart(
    ("systemctl", "reload", "docker"), "Docker reads registry-mirrors at a reload; nothing is stopped"
)


def plan(text: str | None, flags: Mapping[str, str], mirror_url: str) -> Plan:
    """Return what is to be changed; `flags` are the texts of files with dockerd's flags, by path."""
    for path, content in flags.items():
        if FLAG in content:
            raise ConfigError(
                f"{path} starts dockerd with {FLAG}, and dockerd refuses to start when daemon.json has {KEY} too. "
                f"Nothing was changed: move that mirror into {PATH}, and run this again"
            )
    edit = Edit(PATH, text, with_mirror(text or "", mirror_url), "daemon.json", restarts=True)
    return Plan(
        (edit,),
        ("Docker asks mirrors for docker.io only; images of other registries come straight from there",),
    )
