"""Programs that know accounts: real ones, of two lines."""

from pathlib import Path

import pytest

from dfdaemon.io import credential_programs
from dfdaemon.io.credential_programs import OUTPUT_BYTES_MAX, run_program
from swarm.errors import OurselvesError


def program(directory: Path, text: str) -> str:
    path = directory / "docker-credential-test"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


async def test_it_reads_and_answers(tmp_path: Path) -> None:
    path = program(tmp_path, 'read -r asked; echo "$1 $asked $MORE"')
    assert await run_program([path, "get"], b"registry.test\n", {"MORE": "x"}) == "get registry.test x\n"


async def test_one_that_does_not_read(tmp_path: Path) -> None:
    assert await run_program([program(tmp_path, "echo hi")], b"x" * 1_000_000, {}) == "hi\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo secret; exit 3", "ended with 3"),
        (f"head -c {OUTPUT_BYTES_MAX + 1} /dev/zero", "prints more"),
        ("exec sleep 60", "did not answer"),
    ],
)
async def test_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    if "sleep" in text:
        monkeypatch.setattr(credential_programs, "PROGRAM_S", 0.05)
    with pytest.raises(OurselvesError, match=reason) as caught:
        await run_program([program(tmp_path, text)], b"", {})
    assert "secret" not in str(caught.value)


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OurselvesError, match="absent cannot be run"):
        await run_program([str(tmp_path / "absent")], b"", {})
