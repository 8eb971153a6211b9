"""Go's server, where there is Go."""

from pathlib import Path

import pytest

from benchmarks.io import go_server
from benchmarks.io.go_server import NoGo


async def test_without_go_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_server, "PLACES", str(tmp_path))
    with pytest.raises(NoGo, match="needs Go"):
        async with go_server.go_server(tmp_path, tmp_path):
            pass


async def test_a_server_that_does_not_build_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "go"
    compiler.write_text("#!/bin/sh\necho no library >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(go_server, "PLACES", str(tmp_path))
    with pytest.raises(NoGo, match="no library"):
        async with go_server.go_server(tmp_path, tmp_path):
            pass
