"""What containerd's configuration says, and how config_path comes into it."""

import tomllib

import pytest

from dfdaemon.install.containerd_config import (
    ConfigFile,
    CriSettings,
    imports,
    read_version,
    settings,
    with_config_path,
)
from dfdaemon.install.marks import without_blocks
from swarm.errors import ConfigError

V2 = 'plugins."io.containerd.grpc.v1.cri"'
V3 = "plugins.'io.containerd.cri.v1.images'"


def files(*texts: str) -> tuple[ConfigFile, ...]:
    return tuple(ConfigFile(f"/etc/containerd/{number}.toml", text) for number, text in enumerate(texts))


def paths(found: CriSettings) -> tuple[str, str]:
    return found.file, found.config_path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", (1, 6)),
        (
            "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376",
            (2, 1),
        ),
        ("containerd github.com/k3s-io/containerd v1.7.23-k3s2", (1, 7)),
        ("2.2", (2, 2)),
        ("containerd", None),
    ],
)
def test_versions_are_read_as_programs_print_them(text: str, version: tuple[int, int] | None) -> None:
    assert read_version(text) == version


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        (f'version = 2\n[{V2}.registry]\nconfig_path = "/a"\n', "/a"),
        (f"version = 3\n[{V3}.registry]\nconfig_path = '/b'\n", "/b"),
        (f'version = 3\n[{V2}.registry]\nconfig_path = "/a"\n', ""),
        ('[plugins.cri.registry]\nconfig_path = "/c"\n', "/c"),
    ],
)
def test_the_section_depends_on_the_files_version(text: str, path: str) -> None:
    assert settings(files(text), (1, 7)).config_path == path


def test_a_later_files_section_replaces_the_whole_one_up_to_1_7_and_is_merged_from_2_0_on() -> None:
    first = f'version = 2\n[{V2}.registry]\nconfig_path = "/a"\n'
    second = f'version = 2\n[{V2}]\nsandbox_image = "pause"\n'
    assert paths(settings(files(first, second), (1, 7))) == ("/etc/containerd/1.toml", "")
    assert paths(settings(files(first, second), (2, 0))) == ("/etc/containerd/0.toml", "/a")


@pytest.mark.parametrize(
    ("version", "extra", "one"),
    [
        ((1, 7), "", False),
        ((2, 1), "", True),
        (None, "", True),
        ((2, 1), "discard_unpacked_layers = true", False),
        ((2, 1), "use_local_image_pull = true", False),
    ],
)
def test_colons_are_one_directory_to_the_transfer_service(
    version: tuple[int, int] | None, extra: str, one: bool
) -> None:
    found = settings(
        files(f"version = 3\n[{V3}]\n{extra}\n[{V3}.registry]\nconfig_path = '/a:/b/'\n"), version
    )
    assert found.roots == ("/a", "/b")
    assert found.takes_one_directory(version) is one


def test_deprecated_forms_and_a_disabled_plugin_are_seen() -> None:
    text = f"""version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[{V2}.containerd]
discard_unpacked_layers = true
[{V2}.registry.mirrors."docker.io"]
endpoint = ["https://mirror.gcr.io"]
[{V2}.registry.configs."a".tls]
ca_file = "x"
[{V2}.registry.configs."b".auth]
username = "x"
"""
    found = settings(files(text), None)
    assert (found.mirrors, found.tls_configs) == (("docker.io",), ("a",))
    assert found.disabled
    assert found.discards_layers


@pytest.mark.parametrize("version", ["4", "[2]", "true", '"2"', "2.0"])
def test_an_unknown_format_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match=r"^/x has version = .*repair it first"):
        settings([ConfigFile("/x", f"version = {version}\n")], None)


@pytest.mark.parametrize("plugins", ["3", '"cri"', "[3]"])
def test_disabled_plugins_are_a_list_of_names(plugins: str) -> None:
    with pytest.raises(ConfigError, match=r"^/x: disabled_plugins is not a list of texts"):
        settings([ConfigFile("/x", f"disabled_plugins = {plugins}\n")], None)


def test_imports_are_a_list_of_patterns() -> None:
    assert imports(ConfigFile("/x", 'imports = ["/a/*.toml"]')) == ("/a/*.toml",)
    with pytest.raises(ConfigError, match="/x: imports"):
        imports(ConfigFile("/x", 'imports = "a"'))


@pytest.mark.parametrize(
    "text",
    [
        "version = 2\n",
        'version = 2\n[plugins]\n  [plugins."io.containerd.grpc.v1.cri"]\n    x = 1',
        f'version = 2\n  [{V2}.registry]\n    config_path = ""  # none\n    [{V2}.registry.auths]\n',
        f'version = 2\n[{V2}.registry]\n\n[{V2}.registry.headers]\nX = ["a"]\n',
        f'version = 2\nx = """\n[{V2}.registry]\nconfig_path = "no"\n"""\n',
    ],
)
def test_config_path_is_set_and_nothing_else(text: str) -> None:
    plugin = "io.containerd.grpc.v1.cri"
    changed = with_config_path(ConfigFile("/x", text), plugin, "/certs")
    wanted = tomllib.loads(text)
    wanted.setdefault("plugins", {}).setdefault(plugin, {}).setdefault("registry", {})["config_path"] = (
        "/certs"
    )
    assert tomllib.loads(changed) == wanted
    assert without_blocks(changed).rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(
    ("version", "plugin"), [(2, "io.containerd.grpc.v1.cri"), (3, "io.containerd.cri.v1.images")]
)
def test_a_new_file_gets_its_version(version: int, plugin: str) -> None:
    found = settings(files(""), (version - 1, 7))
    assert found.plugin == plugin
    tree = tomllib.loads(with_config_path(ConfigFile("/x", ""), plugin, "/certs"))
    assert tree == {"version": version, "plugins": {plugin: {"registry": {"config_path": "/certs"}}}}


def test_an_inline_table_is_refused_with_what_to_do() -> None:
    text = 'version = 2\nplugins = {"io.containerd.grpc.v1.cri" = {registry = {}}}\n'
    with pytest.raises(
        ConfigError, match=r"/x has a form that is not edited here: set in .* config_path = '/certs'"
    ):
        with_config_path(ConfigFile("/x", text), "io.containerd.grpc.v1.cri", "/certs")
