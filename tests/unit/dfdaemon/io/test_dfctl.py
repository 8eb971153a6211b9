"""What dfctl prints, and with which status it ends."""

import io
from typing import Any

import pytest
from rich.console import Console

from dfdaemon.io import dfctl

DIGEST = "sha256:" + "ab12" * 16


@pytest.fixture
def console() -> Console:
    """As wide as a terminal of old."""
    return Console(file=io.StringIO(), width=80, soft_wrap=True)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_digest_is_shown_whole_and_a_zone_as_it_is_called(console: Console) -> None:
    blob = {
        "digest": DIGEST,
        "size": 1 << 31,
        "pieces_held": 3,
        "pieces": 512,
        "readers": 1,
        "ring": False,
    }
    status: dict[str, Any] = {
        "host": "node-1",
        "version": "1",
        "zone": "eu[/x]",
        "scheduler": True,
        "scheduler_reason": "",
        "store": {"blobs": 1, "partial": 1, "bytes": 5},
        "active": [blob],
    }
    dfctl._print_status(status, console)
    assert f"active     {DIGEST}\n" in printed(console)
    assert "3/512 pieces of 2.0 GiB on disk, read by 1" in printed(console)
    assert "zone eu[/x])" in printed(console)


def test_a_registry_with_an_address_is_shown(console: Console) -> None:
    account: dict[str, Any] = {
        "digest": DIGEST,
        "size": 10,
        "state": "complete",
        "started_at": 1.0,
        "finished_at": 2.0,
        "registry": "[fd00::5]:5000",
        "repository": "team/app",
        "failure": "",
        "origin_bytes": 10,
        "inline_bytes": 0,
        "peer_bytes": {},
        "resumed_bytes": 0,
        "uploaded_bytes": 0,
        "seconds": 1.0,
    }
    dfctl._print_account(account, console)
    assert "as [fd00::5]:5000/team/app" in printed(console)


@pytest.mark.parametrize(
    "words", [("explain", "Bad Ref!"), ("purge", "sha256:1"), ("deny", "foo"), ("allow", "sha512:0")]
)
def test_what_names_nothing_is_an_error_of_the_command_line(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        dfctl.main(["--socket", "/nowhere", *words])
    assert ended.value.code == dfctl.EXIT_USAGE
    assert capsys.readouterr().err.startswith("dfctl: ")


def test_an_error_is_no_part_of_what_a_program_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dfctl.main(["--socket", "/nowhere", "--json", "status"])
    assert ended.value.code == dfctl.EXIT_FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert "no daemon answers at /nowhere" in said.err
