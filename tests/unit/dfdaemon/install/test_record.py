"""How a file is given back, told as: what it was, what we wrote, what it is now."""

import json

import pytest

from dfdaemon.install.marks import block
from dfdaemon.install.record import Entry, Record, Undo, base, digest, from_json, to_json, undo
from swarm.errors import ConfigError

URL = "http://127.0.0.1:4001"
WAS = "a = 1\n"
OURS = WAS + block(["b = 2"])


def entry(before: str | None, after: str = OURS) -> Entry:
    return Entry("/f", "marked", "" if before is None else "copy", digest(before or ""), digest(after))


@pytest.mark.parametrize(
    ("before", "current", "how", "text"),
    [
        (WAS, OURS, "restore", WAS),
        (None, OURS, "delete", ""),
        (WAS, WAS, "leave", ""),
        (WAS, None, "leave", ""),
        (WAS, f"{OURS}c = 3\n", "rewrite", f"{WAS}c = 3\n"),
        (None, f"{OURS}c = 3\n", "rewrite", f"{WAS}c = 3\n"),
        (None, f"\n{block(['b = 2'])}", "delete", ""),
        (WAS, "c = 3\n", "leave", ""),
    ],
)
def test_a_file_is_given_back(before: str | None, current: str | None, how: str, text: str) -> None:
    done = undo(entry(before), current, before, URL)
    assert (done.how, done.text) == (how, text)


def test_somebodys_edit_is_told() -> None:
    assert "only our part was taken out" in undo(entry(WAS), f"{OURS}c = 3\n", WAS, URL).note
    assert "left as it is" in undo(entry(WAS), "c = 3\n", WAS, URL).note
    assert "is gone" in undo(entry(WAS), None, WAS, URL).note
    assert undo(entry(WAS), OURS, WAS, URL) == Undo("restore", WAS)


def test_dockers_file_loses_our_mirror_only() -> None:
    edited = f'{{"registry-mirrors": ["{URL}", "https://a"], "debug": true}}'
    done = undo(Entry("/f", "daemon.json", "", digest(""), digest("{}")), edited, None, URL)
    assert json.loads(done.text) == {"registry-mirrors": ["https://a"], "debug": True}


@pytest.mark.parametrize(
    ("current", "expected"),
    [(OURS, WAS), (WAS, WAS), (None, None), (f"{OURS}c\n", f"{WAS}c\n"), ("c\n", "c\n")],
)
def test_the_text_without_us_is_what_a_second_run_starts_from(
    current: str | None, expected: str | None
) -> None:
    assert base(entry(WAS), current, WAS, URL) == expected
    assert base(None, current, None, URL) == current


def test_a_record_reads_back() -> None:
    record = Record("containerd", URL, ("_default",), (entry(WAS),), ("/a", "/a/b"))
    assert from_json(to_json(record), "/r") == record


def test_a_newer_entry_takes_the_place_of_an_older_one() -> None:
    record = Record("k3s").with_entries([entry(WAS)]).with_entries([entry(None)])
    assert record.entries == (entry(None),)
    assert record.entry("/f") == entry(None)
    assert record.entry("/g") is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 1}', to_json(Record("k3s", "", (), (entry(WAS),))).replace("marked", "odd")],
)
def test_a_damaged_record_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="/r is damaged"):
        from_json(text, "/r")


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="another version"):
        from_json(to_json(Record("k3s")).replace('"format": 1', '"format": 2'), "/r")
