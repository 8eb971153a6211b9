"""k3s's registries.yaml changes in place, with its comments and order."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dfdaemon.install.k3s import plan, with_mirror
from dfdaemon.install.marks import without_blocks
from swarm.errors import ConfigError

URL = "http://127.0.0.1:4001"
FULL = """\
# ours
mirrors:
  # the hub
  docker.io:
    endpoint:
      - "https://mirror.example"   # near
    rewrite:
      "^a/(.*)": "b/$1"
  quay.io:
    endpoint: ["https://q1", https://q2]
  "registry.example:5000":
configs:
  "mirror.example":
    auth: {username: a, password: b}
"""


def endpoints(text: str) -> dict[str, list[str]]:
    return {name: (value or {}).get("endpoint") for name, value in yaml.safe_load(text)["mirrors"].items()}


def test_each_form_of_a_registry_gets_our_endpoint_first() -> None:
    changed = with_mirror(FULL, ["docker.io", "quay.io", "registry.example:5000", "*"], URL)
    assert endpoints(changed) == {
        "*": [URL],
        "docker.io": [URL, "https://mirror.example"],
        "quay.io": [URL, "https://q1", "https://q2"],
        "registry.example:5000": [URL],
    }
    assert yaml.safe_load(changed)["configs"] == yaml.safe_load(FULL)["configs"]
    assert without_blocks(changed) == FULL
    assert [line for line in FULL.splitlines() if "#" in line and line not in changed.splitlines()] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "configs:\n  a: {}\n",
        "mirrors:\n",
        "mirrors:\n\nconfigs: {}\n",
        "mirrors:\n    docker.io:\n    quay.io:\n",
        "mirrors:\n  docker.io:\n    endpoint:\n    - https://a\n",
        "mirrors:\n  docker.io:\n    rewrite: {}\n",
        "mirrors:\n  docker.io:\n    endpoint:\n",
        "mirrors:\n  docker.io:\n    endpoint: [\n      https://a,\n      https://b\n    ]\n    rewrite: {}\n",
        "mirrors:\n  docker.io:\n    endpoint: []",
        "mirrors: {}  # none\nconfigs: {}\n",
        "mirrors:\n  docker.io: null\n  quay.io: {}\n",
        "mirrors:\n  'docker.io': {}\n",
    ],
)
def test_the_rest_stays(text: str) -> None:
    changed = with_mirror(text, ["docker.io"], URL)
    tree = yaml.safe_load(text) or {}
    before = ((tree.get("mirrors") or {}).get("docker.io") or {}).get("endpoint") or []
    assert endpoints(changed)["docker.io"] == [URL, *before]
    assert with_mirror(changed, ["docker.io"], URL) == changed
    assert without_blocks(changed).rstrip("\n") == text.rstrip("\n")


NAMES = st.sampled_from(["docker.io", "quay.io", "*", "a.example:5000"])
MIRRORS = st.dictionaries(
    NAMES, st.none() | st.fixed_dictionaries({"endpoint": st.lists(st.just("https://x"), max_size=2)})
)


@given(MIRRORS, st.lists(NAMES, min_size=1, unique=True), st.sampled_from([2, 4]))
def test_any_file_as_a_program_writes_it(
    mirrors: dict[str, dict[str, list[str]] | None], names: list[str], indent: int
) -> None:
    text = yaml.safe_dump({"mirrors": mirrors} if mirrors else {}, indent=indent, default_flow_style=False)
    text = "" if text == "{}\n" else text
    found = endpoints(with_mirror(text, names, URL))
    for name in {*mirrors, *names}:
        before = (mirrors.get(name) or {}).get("endpoint") or []
        assert (found[name] or []) == ([URL, *before] if name in names else before)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is not valid YAML"),
        ("- a\n", "no mapping of mirrors"),
        ("mirrors: [a]\n", "no mapping of mirrors"),
        ("mirrors:\n  a: {endpoint: b}\n", "no mapping of mirrors"),
        ("mirrors: {docker.io: {endpoint: [a]}}\n", "has a form that is not edited here"),
        ("a: 1\n...\n", "has a form that is not edited here"),
        (
            "mirrors:\n  docker.io: &x\n    endpoint: [a]\n  quay.io: *x\n",
            "has a form that is not edited here",
        ),
    ],
)
def test_what_cannot_be_edited_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as error:
        with_mirror(text, ["docker.io"], URL)
    assert "/etc/rancher/k3s/registries.yaml" in str(error.value)


def test_k3s_needs_a_restart_and_the_wildcard_a_word_of_warning() -> None:
    found = plan(None, ["*"], URL)
    assert found.edits[0].restarts
    assert "1.32.2" in found.notes[0]
    assert plan(None, ["docker.io"], URL).notes == ()
