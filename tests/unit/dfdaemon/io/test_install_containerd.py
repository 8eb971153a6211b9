"""What is read of a node's containerd."""

from pathlib import Path

import pytest

from dfdaemon.install.containerd_config import settings
from dfdaemon.io.install_containerd import CONFIG, installed_version, read_node
from dfdaemon.io.install_files import NodeFiles
from swarm.errors import ConfigError

CRI = 'plugins."io.containerd.grpc.v1.cri".registry'


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path)


def test_imports_are_read_in_order_each_once_also_from_each_other(files: NodeFiles) -> None:
    files.write(CONFIG, 'version = 2\nimports = ["conf.d/*.toml", "/opt/none.toml"]\n')
    files.write("/etc/containerd/conf.d/b.toml", f'version = 2\n[{CRI}]\nconfig_path = "/b"\n')
    files.write(
        "/etc/containerd/conf.d/a.toml", f'imports = ["../config.toml"]\n[{CRI}]\nconfig_path = "/a"\n'
    )
    node = read_node(files, files.read, CONFIG, (1, 7))
    assert [file.path for file in node.files] == [
        CONFIG,
        "/etc/containerd/conf.d/a.toml",
        "/etc/containerd/conf.d/b.toml",
    ]
    assert settings(node.files, (1, 7)).config_path == "/b"
    assert [root.path for root in node.roots] == ["/b"]


def test_folders_and_hosts_toml_files_are_read_below_config_path(files: NodeFiles) -> None:
    files.write(CONFIG, f'version = 2\n[{CRI}]\nconfig_path = "/certs:/more"\n')
    files.write("/certs/docker.io/hosts.toml", "server = 'x'\n")
    files.write("/certs/a.example/ca.crt", "PEM")
    node = read_node(files, files.read, CONFIG, None)
    assert [dict(root.folders) for root in node.roots] == [
        {"docker.io": {"hosts.toml"}, "a.example": {"ca.crt"}},
        {},
    ]
    assert node.hosts == {"/certs/docker.io/hosts.toml": "server = 'x'\n"}


def test_a_node_without_a_configuration_has_the_standard_folder(files: NodeFiles) -> None:
    node = read_node(files, files.read, CONFIG, None)
    assert not node.main_exists
    assert [root.path for root in node.roots] == ["/etc/containerd/certs.d"]


def test_too_many_imports_are_refused(files: NodeFiles) -> None:
    files.write(CONFIG, 'imports = ["/i/*"]\n')
    for number in range(70):
        files.write(f"/i/{number}.toml", "")
    with pytest.raises(ConfigError, match="imports more than 64 files"):
        read_node(files, files.read, CONFIG, None)


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo containerd github.com/containerd/containerd v1.7.2 abc", (1, 7)),
        ("exit 1", None),
        ("echo odd", None),
    ],
)
def test_the_installed_containerd_is_asked_for_its_version(
    script: str, version: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "containerd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed_version() == version
    program.unlink()
    assert installed_version() is None
