"""A runtime is made to read its configuration again, and until then somebody remembers."""

import os
from pathlib import Path

import pytest

from dfdaemon.install import k3s
from dfdaemon.io import install_restart
from dfdaemon.io.install_files import NodeFiles
from swarm.errors import ConfigError


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    (tmp_path / "node").mkdir()
    return NodeFiles(tmp_path / "node")


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that writes down what it is asked for, and fails for docker."""
    script = tmp_path / "bin/systemctl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$2" != docker ]\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    return tmp_path / "asked"


def test_it_is_needed_from_when_it_is_written_down_until_it_is_done(
    files: NodeFiles, systemctl: Path
) -> None:
    assert not install_restart.needed(files, "containerd")
    install_restart.remember(files, "containerd")
    assert install_restart.needed(files, "containerd")
    assert not install_restart.needed(files, "crio")
    install_restart.carry_out(files, "containerd")
    assert systemctl.read_text() == "restart containerd\n"
    assert not install_restart.needed(files, "containerd")
    assert not files.exists(install_restart.FOLDER)


def test_one_that_fails_stays_needed(files: NodeFiles, systemctl: Path) -> None:
    install_restart.remember(files, "docker")
    with pytest.raises(ConfigError, match="the files are changed, but systemctl reload docker failed"):
        install_restart.carry_out(files, "docker")
    assert install_restart.needed(files, "docker")


def test_an_agent_of_k3s_has_another_unit(files: NodeFiles) -> None:
    assert install_restart.how(files, "k3s") == k3s.SERVER
    files.write(k3s.AGENT_UNIT, "")
    assert install_restart.how(files, "k3s") == k3s.AGENT


def test_what_is_to_be_done_is_told(files: NodeFiles, capsys: pytest.CaptureFixture[str]) -> None:
    install_restart.tell(files, "crio", before=False)
    install_restart.tell(files, "crio", before=True)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("needed: systemctl reload crio (")
    assert said[1].startswith("still needed, if nobody has done it since: systemctl reload crio (")
