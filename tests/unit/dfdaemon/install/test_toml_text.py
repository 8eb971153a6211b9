"""Where tables begin in a text."""

import pytest

from dfdaemon.install.toml_text import at, headers, parse, quoted
from swarm.errors import ConfigError


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("[a]", ("a",)),
        ("  [ a . 'b.c' ] # why", ("a", "b.c")),
        (
            '[plugins."io.containerd.grpc.v1.cri".registry]',
            ("plugins", "io.containerd.grpc.v1.cri", "registry"),
        ),
        ("[[registry]]", ("registry",)),
    ],
)
def test_a_header_has_keys(line: str, keys: tuple[str, ...]) -> None:
    text = f"x = 1\n{line}\ny = 2\n"
    (header,) = headers(text)
    assert header.keys == keys
    assert text[header.start : header.end] == f"{line}\n"


@pytest.mark.parametrize("line", ['["a", "b"],', "x = [1]", "# [a]", "[a", ""])
def test_other_lines_are_no_headers(line: str) -> None:
    assert list(headers(f"{line}\n")) == []


def test_what_is_not_toml_is_refused_with_the_files_name() -> None:
    with pytest.raises(ConfigError, match=r"/etc/x\.toml is not valid TOML: .*line 1"):
        parse("a = = 1", "/etc/x.toml")


def test_a_quoted_text_reads_back() -> None:
    text = 'a "b" \\ c'
    assert parse(f"x = {quoted(text)}", "")["x"] == text


def test_a_value_that_is_not_there_is_none() -> None:
    assert at({"a": {"b": 1}}, "a", "b") == 1
    assert at({"a": 1}, "a", "b") is None
