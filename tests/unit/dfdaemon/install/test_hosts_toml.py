"""Our mirror is first, all else stays."""

import tomllib

import pytest

from dfdaemon.install.hosts_toml import Certificates, MirrorHost, has_mirror, with_mirror
from dfdaemon.install.marks import without_blocks
from swarm.errors import ConfigError

URL = "http://127.0.0.1:4001"
PATH = "/etc/containerd/certs.d/docker.io/hosts.toml"
OURS = {"capabilities": ["pull", "resolve"]}

PLAIN = """\
# by hand
server = "https://registry-1.docker.io"  # last

[host."https://mirror.gcr.io"]
  capabilities = ["pull", "resolve"]
  [host."https://mirror.gcr.io".header]
    x-team = ["a"]
[host."https://other.example"]
"""
TALOS = "[host]\n  [host.'https://registry-1.docker.io']\n    capabilities = ['pull', 'resolve']\n"
SERVER_ONLY = 'server = "https://registry.example.com"'
ARRAYS = """\
server = "https://registry.example.com"
client = [
  ["a.cert", "a.key"]
]
capabilities = [
  "pull",
]
[host."https://a"]
"""


@pytest.mark.parametrize("text", [PLAIN, TALOS, SERVER_ONLY, ARRAYS, "", "\n# nothing\n"])
def test_our_host_is_first_and_the_rest_as_before(text: str) -> None:
    changed = with_mirror(text, MirrorHost(URL), PATH)
    tree, before = tomllib.loads(changed), tomllib.loads(text)
    assert list(tree["host"]) == [URL, *before.get("host", {})]
    assert tree.pop("host") == {URL: OURS, **before.pop("host", {})}
    assert tree == before
    assert has_mirror(changed, URL, PATH)
    assert without_blocks(changed).rstrip("\n") == text.rstrip("\n")


def test_a_second_time_changes_nothing() -> None:
    once = with_mirror(PLAIN, MirrorHost(URL), PATH)
    assert with_mirror(once, MirrorHost(URL), PATH) == once


def test_a_dial_timeout_is_written_where_it_is_understood() -> None:
    tree = tomllib.loads(with_mirror("", MirrorHost(URL, "200ms"), PATH))
    assert tree == {"host": {URL: {**OURS, "dial_timeout": "200ms"}}}


def test_certificates_that_containerd_found_in_the_folder_stay_in_use() -> None:
    found = Certificates.among(frozenset({"b.crt", "a.crt", "client.cert", "client.key", "notes.txt"}))
    tree = tomllib.loads(with_mirror("", MirrorHost(URL), PATH, found))
    assert tree == {
        "ca": ["a.crt", "b.crt"],
        "client": [["client.cert", "client.key"]],
        "host": {URL: OURS},
    }


def test_certificates_beside_a_hosts_toml_stay_unused() -> None:
    changed = with_mirror(SERVER_ONLY, MirrorHost(URL), PATH, Certificates(("ca.crt",)))
    assert "ca" not in tomllib.loads(changed)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("server = ", "is not valid TOML"),
        ('host = {"https://a" = {}}\n', "has a form that is not edited here"),
        (f'[host."https://a"]\n[host."{URL}"]\n', "not as its first host"),
    ],
)
def test_what_cannot_be_edited_is_refused_with_the_files_name(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as error:
        with_mirror(text, MirrorHost(URL), PATH)
    assert PATH in str(error.value)


def test_a_mirror_that_comes_second_is_not_used_first() -> None:
    assert not has_mirror(f'[host."https://a"]\n[host."{URL}"]\n', URL, PATH)
    assert not has_mirror(SERVER_ONLY, URL, PATH)
