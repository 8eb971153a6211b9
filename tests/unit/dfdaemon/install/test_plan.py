"""Diffs as people read them, without secrets."""

import pytest

from dfdaemon.install.plan import hide_secrets, unified_diff


def test_a_new_file_comes_from_nothing_and_a_deleted_one_goes_to_it() -> None:
    assert unified_diff("/a", None, "x\n") == "--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\n"
    assert unified_diff("/a", "x\n", None) == "--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"


def test_a_last_line_without_end_is_marked_as_diff_does() -> None:
    assert unified_diff("/a", "x", "x\n").splitlines()[3:] == ["-x", "\\ No newline at end of file", "+x"]


def test_no_change_is_no_diff() -> None:
    assert unified_diff("/a", "x", "x") == ""


@pytest.mark.parametrize(
    "text",
    [
        '  "auth": "s3cr3t",\nAuthorization = ["s3cr3t"]\nrest: x\n',
        "rest:\n  auth: {username: u, password: s3cr3t}\n",
        "rest: {auth: {username: u, password: s3cr3t s3cr3t}}\n",
        'header = { X-Rest = "1", Authorization = "s3cr3t" }\n',
        '[rest.header]\n  Authorization = [\n    "s3cr3t",\n  ]\n',
        'header.X-Auth-Token = "s3cr3t"\nrest = 1\n',
        'password = "two s3cr3t" # rest\n',
        "  password: two s3cr3t\n  rest: 1\n",
        "  password: >-\n    s3cr3t\n    s3cr3t\n  rest: 1\n",
        "  password:\n    s3cr3t\n  rest: 1\n",
        "auth:\n  rest: u\n  identity_token: s3cr3t\n",
        '{"http-proxy": "http://u:s3cr3t@rest:3128"}\n',
        'endpoint: ["https://s3cr3t@rest", "https://u:s3cr3t@s3cr3t@rest/"]\n',
        "# was: password: s3cr3t\nrest: 1\n",
        '{"auth": "a \\"s3cr3t", "rest": 1}\n',
    ],
)
def test_values_of_passwords_and_tokens_are_not_shown(text: str) -> None:
    shown = hide_secrets(text)
    assert "s3cr3t" not in shown
    assert "rest" in shown.lower()


def test_what_is_no_secret_is_shown() -> None:
    text = 'auths_path: x\nserver = "https://auth.docker.io:443/token"\nauth:\n  username: u\n\nmirrors:\n  a: b\n'
    assert hide_secrets(text) == text


def test_a_change_beside_a_secret_is_told_without_it() -> None:
    shown = unified_diff("/a", "{auth: s3cr3t}\n", "{auth: s3cr3t, mirrors: x}\n")
    assert shown == "--- a/a\n+++ b/a\n@@ the change is in a line with a secret: (not shown) @@\n"
