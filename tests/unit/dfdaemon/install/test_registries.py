"""Which registries a runtime is told about."""

import pytest

from dfdaemon.install.registries import REGISTRIES_MAX, chosen
from swarm.errors import BadName, ConfigError


@pytest.mark.parametrize(
    ("runtime", "before", "named", "expected"),
    [
        ("containerd", [], [], ("_default",)),
        ("containerd", [], ["*", "Docker.IO"], ("_default", "docker.io")),
        ("containerd", ["docker.io"], [], ("docker.io", "_default")),
        ("containerd", ["_default"], ["a:5000", "a:5000"], ("_default", "a:5000")),
        ("k3s", [], ["_default"], ("*",)),
        ("crio", [], [], ("docker.io",)),
        ("docker", [], ["docker.io"], ("docker.io",)),
    ],
)
def test_named_ones_join_those_of_earlier_calls(
    runtime: str, before: list[str], named: list[str], expected: tuple[str, ...]
) -> None:
    assert chosen(runtime, before, named) == expected


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", ".."])
def test_a_name_that_is_no_registry_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        chosen("containerd", [], [name])


@pytest.mark.parametrize(("runtime", "name"), [("docker", "quay.io"), ("docker", "*")])
def test_docker_mirrors_docker_io_only(runtime: str, name: str) -> None:
    with pytest.raises(ConfigError, match=r"docker\.io only"):
        chosen(runtime, [], [name])


def test_crio_has_no_word_for_all() -> None:
    with pytest.raises(BadName):
        chosen("crio", [], ["*"])


def test_there_is_a_limit() -> None:
    with pytest.raises(ConfigError, match="more than"):
        chosen("containerd", [], [f"r{number}.example" for number in range(REGISTRIES_MAX + 1)])
