"""What is planned for CRI-O and podman: a file that repeats what was said about a registry, with our mirror first."""

import tomllib
from typing import Any

import pytest

from dfdaemon.install.crio import FOLDER, MAIN, PATH, plan
from swarm.errors import ConfigError

ADDRESS = "127.0.0.1:4001"
OURS = {"location": "127.0.0.1:4001/docker.io", "insecure": True}


def registry(*files: tuple[str, str]) -> dict[str, Any]:
    (edit,) = plan(None, files, ["docker.io"], ADDRESS).edits
    (table,) = tomllib.loads(edit.after)["registry"]
    return dict(table)


def test_a_new_registry_gets_our_mirror() -> None:
    assert registry() == {"prefix": "docker.io", "location": "docker.io", "mirror": [OURS]}


def test_what_earlier_files_say_stays() -> None:
    first = '[[registry]]\nlocation = "docker.io"\ninsecure = true\n'
    second = """[[registry]]
prefix = "docker.io"
location = "mirror.internal/hub"
mirror-by-digest-only = true
[[registry.mirror]]
location = "a.example"
pull-from-mirror = "digest-only"
[[registry]]
location = "quay.io"
"""
    assert registry((MAIN, first), (f"{FOLDER}/50.conf", second)) == {
        "prefix": "docker.io",
        "location": "mirror.internal/hub",
        "mirror-by-digest-only": True,
        "mirror": [OURS, {"location": "a.example", "pull-from-mirror": "digest-only"}],
    }


def test_several_registries_stand_in_one_file() -> None:
    (edit,) = plan(None, (), ["docker.io", "localhost:5000"], ADDRESS).edits
    assert edit.path == PATH
    tables = tomllib.loads(edit.after)["registry"]
    assert [table["mirror"][0]["location"] for table in tables] == [
        f"{ADDRESS}/docker.io",
        f"{ADDRESS}/localhost:5000",
    ]


def test_a_file_that_is_read_after_ours_is_named() -> None:
    later = (f"{FOLDER}/zzz.conf", '[[registry]]\nlocation = "docker.io"\n')
    notes = plan(None, (later,), ["docker.io"], ADDRESS).notes
    assert any("zzz.conf is read after" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[[registry]]\nlocation = "docker.io"\nblocked = true\n', "docker.io is blocked"),
        ('[[registry]]\nlocation = "docker.io"\nx = [1]\n', "not copied here"),
        ('registry = "a"\n', "is not a list of tables"),
        ("[[registry", "is not valid TOML"),
    ],
)
def test_what_cannot_be_repeated_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        plan(None, ((MAIN, text),), ["docker.io"], ADDRESS)


def test_what_somebody_wrote_into_our_file_stays_before_our_part() -> None:
    theirs = 'short-name-mode = "permissive"'
    (edit,) = plan(theirs, (), ["docker.io"], ADDRESS).edits
    assert edit.base == theirs
    tree = tomllib.loads(edit.after)
    assert tree["short-name-mode"] == "permissive"
    assert tree["registry"][0]["mirror"] == [OURS]


def test_a_registry_that_somebody_put_into_our_file_is_not_overwritten() -> None:
    with pytest.raises(ConfigError, match=r"has a \[\[registry\]\] for docker\.io that is not ours"):
        plan('[[registry]]\nlocation = "docker.io"\n', (), ["docker.io"], ADDRESS)
