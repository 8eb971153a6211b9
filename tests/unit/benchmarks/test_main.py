"""What dfbench makes of what its commands cannot do."""

import errno

import pytest

from benchmarks import __main__
from benchmarks.__main__ import main


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_in_a_line(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(options: object) -> int:
        raise OSError(code, "no room", "/store/layer")

    monkeypatch.setitem(__main__.RUNS, "fanout", full)
    with pytest.raises(SystemExit, match=r"dfbench fanout: the disk is full .*'/store/layer'.*--folder"):
        main(["fanout"])


def test_other_faults_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(options: object) -> int:
        raise OSError(errno.EBADF, "a fault of ours")

    monkeypatch.setitem(__main__.RUNS, "fanout", broken)
    with pytest.raises(OSError, match="a fault of ours"):
        main(["fanout"])
