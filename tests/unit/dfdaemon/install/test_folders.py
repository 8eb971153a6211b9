"""Which folder wins, drawn as directories of config_path with their folders."""

import pytest

from dfdaemon.install.folders import Root, folder_for, names, of_registries, registry_of


def roots(*drawn: str) -> list[Root]:
    """Each text is one directory: its folders, with + for one that has a hosts.toml."""
    return [
        Root(
            f"/r{number}",
            {name.rstrip("+"): frozenset(["hosts.toml"] if "+" in name else []) for name in text.split()},
        )
        for number, text in enumerate(drawn, start=1)
    ]


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("docker.io", ("docker.io",)),
        ("localhost:5001", ("localhost_5001_", "localhost:5001")),
        ("[::1]:5000", ("[::1]_5000_", "[::1]:5000")),
    ],
)
def test_a_registry_with_a_port_has_two_names(registry: str, expected: tuple[str, ...]) -> None:
    assert names(registry) == expected
    assert all(registry_of(name) == registry for name in expected)


@pytest.mark.parametrize(
    ("drawn", "registry", "expected"),
    [
        ([""], "_default", "/r1/_default"),
        ([""], "a:1", "/r1/a_1_"),
        (["a:1"], "a:1", "/r1/a:1"),
        (["a:1 a_1_"], "a:1", "/r1/a_1_"),
        (["", "docker.io+"], "docker.io", "/r2/docker.io"),
        (["_default+", "docker.io+"], "docker.io", "/r1/docker.io"),
        (["docker.io+", ""], "_default", "/r1/_default"),
        (["", "docker.io+"], "_default", "/r2/_default"),
        (["quay.io+", "docker.io+"], "_default", "/r2/_default"),
        (["_default+", "docker.io+"], "_default", "/r1/_default"),
    ],
)
def test_the_folder_that_containerd_will_read(drawn: list[str], registry: str, expected: str) -> None:
    folder = folder_for(roots(*drawn), registry)
    assert f"{folder.root}/{folder.name}" == expected


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (["_default+ docker.io"], ["/r1/docker.io"]),
        (["a:1 a_1_"], ["/r1/a_1_"]),
        (["docker.io+", "docker.io+ quay.io+"], ["/r1/docker.io", "/r2/quay.io"]),
        (["_default+", "quay.io+"], []),
    ],
)
def test_the_folders_that_count_for_a_registry_of_their_own(drawn: list[str], expected: list[str]) -> None:
    assert [f"{folder.root}/{folder.name}" for folder in of_registries(roots(*drawn))] == expected
