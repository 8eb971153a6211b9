"""Diffs as people read them, without secrets."""

from dfdaemon.install.plan import hide_secrets, unified_diff


def test_a_new_file_comes_from_nothing_and_a_deleted_one_goes_to_it() -> None:
    assert unified_diff("/a", None, "x\n") == "--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\n"
    assert unified_diff("/a", "x\n", None) == "--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"


def test_a_last_line_without_end_is_marked_as_diff_does() -> None:
    assert unified_diff("/a", "x", "x\n").splitlines()[3:] == ["-x", "\\ No newline at end of file", "+x"]


def test_no_change_is_no_diff() -> None:
    assert unified_diff("/a", "x", "x") == ""


def test_values_of_passwords_and_tokens_are_not_shown() -> None:
    shown = hide_secrets(
        '       password: s3cr3t\n+  "auth": "s3cr3t",\n-Authorization = ["s3cr3t"]\n auths_path: x\n'
    )
    assert "s3cr3t" not in shown
    assert "auths_path: x" in shown
