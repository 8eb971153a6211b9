"""What is planned for Docker."""

import pytest

from dfdaemon.install.docker import plan
from swarm.errors import ConfigError

URL = "http://127.0.0.1:4001"


def test_docker_needs_a_reload_and_is_told_to_serve_docker_io_only() -> None:
    found = plan(None, {}, URL)
    (edit,) = found.edits
    assert (edit.path, edit.base, edit.restarts) == ("/etc/docker/daemon.json", None, True)
    assert "docker.io only" in found.notes[0]


def test_a_flag_that_would_keep_dockerd_from_starting_is_found() -> None:
    flags = {"/etc/default/docker": 'DOCKER_OPTS="--registry-mirror=https://a"'}
    with pytest.raises(ConfigError, match="/etc/default/docker starts dockerd with --registry-mirror"):
        plan(None, flags, URL)
