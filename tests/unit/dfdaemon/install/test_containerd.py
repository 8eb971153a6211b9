"""What is planned for a node's containerd."""

import tomllib

import pytest

from dfdaemon.install.containerd import ContainerdNode, plan
from dfdaemon.install.containerd_config import ConfigFile, Version
from dfdaemon.install.folders import Root
from dfdaemon.install.plan import Plan
from swarm.errors import ConfigError

URL = "http://127.0.0.1:4001"
MAIN = "/etc/containerd/config.toml"
CERTS = "/etc/containerd/certs.d"
SET = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{}"\n'


def node(
    config: str | None = SET.format(CERTS),
    *roots: Root,
    hosts: dict[str, str] | None = None,
    version: Version | None = (1, 7),
) -> ContainerdNode:
    return ContainerdNode(
        (ConfigFile(MAIN, config or ""),),
        config is not None,
        roots or (Root(CERTS, {}),),
        hosts or {},
        version,
    )


def changed(found: Plan) -> list[str]:
    return [edit.path for edit in found.edits]


def test_a_node_with_config_path_gets_a_default_and_needs_no_restart() -> None:
    found = plan(node(), ["_default"], URL)
    (edit,) = found.edits
    assert (edit.path, edit.base, edit.restarts) == (f"{CERTS}/_default/hosts.toml", None, False)
    assert tomllib.loads(edit.after)["host"].keys() == {URL}
    assert found.notes == ()


def test_a_node_without_config_path_gets_it_last_and_needs_a_restart() -> None:
    found = plan(node("version = 2\n"), ["_default"], URL)
    assert changed(found) == [f"{CERTS}/_default/hosts.toml", MAIN]
    assert [edit.restarts for edit in found.edits] == [False, True]


def test_a_node_without_any_configuration_gets_a_new_file() -> None:
    *_, edit = plan(node(None), ["_default"], URL).edits
    assert (edit.path, edit.base) == (MAIN, None)


@pytest.mark.parametrize(
    ("version", "written"), [((2, 1), True), ((2, 0), False), ((1, 6), False), (None, False)]
)
def test_dial_timeout_is_written_only_where_containerd_knows_it(
    version: Version | None, written: bool
) -> None:
    found = plan(node(version=version), ["docker.io"], URL)
    assert ("dial_timeout" in found.edits[0].after) is written
    assert any("--containerd-version" in note for note in found.notes) is (version is None)


def test_a_folder_that_hides_the_default_is_named_and_left_alone() -> None:
    root = Root(CERTS, {"docker.io": frozenset(["hosts.toml"]), "_default": frozenset()})
    found = plan(node(SET.format(CERTS), root), ["_default"], URL)
    assert changed(found) == [f"{CERTS}/_default/hosts.toml"]
    assert [note for note in found.notes if "--registry docker.io" in note] != []
    assert plan(node(SET.format(CERTS), root), ["_default", "docker.io"], URL).notes == ()


def test_deprecated_mirrors_are_refused_with_what_to_do() -> None:
    mirrors = '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["https://mirror.gcr.io"]\n'
    with pytest.raises(ConfigError, match=r'mirrors\."docker\.io".*Nothing was changed: move it into'):
        plan(node(f"version = 2\n{mirrors}"), ["_default"], URL)


LIST = SET.format(f"{CERTS}:/etc/docker/certs.d")
EMPTY, FILLED = Root("/etc/docker/certs.d", {}), Root("/etc/docker/certs.d", {"a": frozenset(["ca.crt"])})


def test_colons_are_left_alone_where_they_work() -> None:
    found = plan(node(LIST, Root(CERTS, {}), FILLED), ["_default"], URL)
    assert changed(found) == ["/etc/docker/certs.d/_default/hosts.toml"]


def test_colons_that_do_not_work_become_the_one_directory_that_is_used() -> None:
    found = plan(node(LIST, Root(CERTS, {}), EMPTY, version=(2, 1)), ["_default"], URL)
    assert changed(found) == [f"{CERTS}/_default/hosts.toml", MAIN]
    tree = tomllib.loads(found.edits[1].after)
    assert tree["plugins"]["io.containerd.grpc.v1.cri"]["registry"]["config_path"] == CERTS


def test_colons_that_do_not_work_are_refused_where_a_folder_would_be_lost() -> None:
    with pytest.raises(
        ConfigError, match=r"move the folders below /etc/docker/certs\.d to /etc/containerd/certs\.d"
    ):
        plan(node(LIST, Root(CERTS, {}), FILLED, version=(2, 1)), ["_default"], URL)


def test_a_disabled_cri_plugin_needs_no_config_path() -> None:
    found = plan(node('disabled_plugins = ["cri"]\n'), ["_default"], URL)
    assert changed(found) == [f"{CERTS}/_default/hosts.toml"]
    assert "disabled" in found.notes[0]


def test_a_folder_with_certificates_only_keeps_them() -> None:
    root = Root(CERTS, {"a.example": frozenset(["ca.crt"])})
    (edit,) = plan(node(SET.format(CERTS), root), ["a.example"], URL).edits
    assert tomllib.loads(edit.after)["ca"] == ["ca.crt"]
