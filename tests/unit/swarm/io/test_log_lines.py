import json
import logging
import re
import sys

import pytest

from swarm.io.log_lines import VALUE_MAX, ForeignFormatter, json_line, text_line, where

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_a_text_line_can_be_read_and_split() -> None:
    line = text_line("INFO", "joined", [("task", "sha256:ab"), ("count", 3), ("seconds", 0.25)])
    assert re.fullmatch(TIME + " INFO joined task=sha256:ab count=3 seconds=0.25", line)


@pytest.mark.parametrize("value", ["two words", "", 'a "quote"', "a=b", "first\nsecond", "\x1b[31mred"])
def test_a_value_cannot_pretend_to_be_a_field_or_a_line(value: str) -> None:
    line = text_line("INFO", "event", [("key", value)])
    assert line.isprintable()
    assert json.loads(line.partition("key=")[2]) == value


def test_a_json_line_is_one_object() -> None:
    line = json_line("WARNING", "lost", [("host", "n1"), ("count", 2), ("reason", "two\nlines")])
    assert "\n" not in line
    read = json.loads(line)
    assert re.fullmatch(TIME, read.pop("time"))
    assert read == {"level": "WARNING", "event": "lost", "host": "n1", "count": 2, "reason": "two\nlines"}


def test_long_values_are_cut_and_secrets_hidden() -> None:
    assert len(text_line("INFO", "event", [("key", "x" * 100_000)])) < VALUE_MAX + 100
    assert "abcdefgh" not in json_line("INFO", "event", [("key", "Bearer abcdefgh")])


def raised() -> Exception:
    try:
        raise ValueError("token=abcdefgh")
    except ValueError as error:
        return error


def test_records_of_libraries_get_the_same_form() -> None:
    error = raised()
    info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("aiohttp.server", logging.ERROR, __file__, 1, "failed %s", ("here",), info)
    line = ForeignFormatter(text_line).format(record)
    assert re.match(TIME + ' ERROR log logger=aiohttp.server message="failed here" traceback=', line)
    assert "\n" not in line
    assert "abcdefgh" not in line
    assert "test_log_lines.py" in line


def test_an_unexpected_error_says_where_it_came_from() -> None:
    assert re.fullmatch(r"ValueError: token=abcdefgh \(test_log_lines.py:\d+\)", where(raised()))
    assert where(KeyError("x")) == "KeyError: 'x'"
    assert sys.exc_info() == (None, None, None)
