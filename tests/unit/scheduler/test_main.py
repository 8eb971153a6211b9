"""The scheduler as a process."""

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.__main__ import main
from swarm.digest import Digest
from swarm.messages import Join, TaskInfo
from tests.support.attach import Daemon
from tests.support.processes import ChildProcess, free_port, http_status

ROOT = Path(__file__).parents[3]
ARGV = [sys.executable, "-m", "scheduler", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"]


class Running:
    """A scheduler's process, and what it said when it was ready."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        argv = [*ARGV, *arguments]
        self.process = ChildProcess(
            "scheduler", argv, folder, env={"PYTHONPATH": str(ROOT)}, ready=lambda: bool(self._ready())
        )

    def _ready(self) -> re.Match[str] | None:
        return re.search(r"INFO scheduler_ready listen=(\S+:\d+) metrics=(\S+:\d+)\n", self.process.log())

    @property
    def addresses(self) -> tuple[str, str]:
        ready = self._ready()
        assert ready is not None
        return ready[1], ready[2]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    it = Running(tmp_path)
    with it.process:
        yield it


def test_it_says_where_it_listens_and_answers_there(running: Running) -> None:
    listen, metrics = running.addresses
    assert not listen.endswith(":0")
    assert [http_status(f"http://{metrics}/{path}") for path in ("healthz", "readyz", "metrics")] == [200] * 3


async def test_a_daemon_attaches_to_the_process(running: Running) -> None:
    listen, _ = running.addresses
    blob = Join(Digest.of(b"x").task, 1 << 20, "docker.io", True)
    async with Daemon("n1", [listen]).running() as daemon:
        await daemon.until(lambda it: it.client.attached)
        daemon.client.tell(blob)
        await daemon.heard(TaskInfo(blob.task, blob.size))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(running: Running, number: signal.Signals) -> None:
    running.process.signal(number)
    assert running.process.wait(10) == 0
    assert running.process.log().splitlines()[-1].endswith("INFO scheduler_stopped")
    assert "rror" not in running.process.log()


def test_an_address_that_is_taken_is_an_error(running: Running, tmp_path: Path) -> None:
    listen, _ = running.addresses
    second = ChildProcess(
        "second", [*ARGV, f"--listen={listen}"], tmp_path, env={"PYTHONPATH": str(ROOT)}
    ).start()
    assert second.wait(20) == 2
    assert f"dfscheduler: listen = '{listen}' cannot be used" in second.log()


LOADING = [
    ("--listen=0.0.0.0:4010", "beyond loopback a cluster token is needed"),
    ("--listen=127.0.0.1.example:4010", "beyond loopback a cluster token is needed"),
    ("--listen=nonsense", "listen = 'nonsense' is not an address"),
    ("--lease.timeout=3", "did you mean '--lease.timeout_s'?"),
    (f"--config=/nonexistent/{free_port()}.toml", "cannot be read: No such file"),
]
STARTING = [
    ("--token-file=/nonexistent/token", "token_file = '/nonexistent/token' cannot be read"),
    ("--listen=127.0.0.1", "listen = '127.0.0.1' is not an address"),
]


@pytest.mark.parametrize(("argument", "said"), LOADING)
def test_a_configuration_that_cannot_be_read_ends_it(
    argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", argument])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("argument", "said"), STARTING)
def test_a_configuration_that_cannot_be_used_ends_it(tmp_path: Path, argument: str, said: str) -> None:
    process = ChildProcess("refused", [*ARGV, argument], tmp_path, env={"PYTHONPATH": str(ROOT)}).start()
    assert process.wait(20) == 2
    assert process.log().startswith("dfscheduler: ")
    assert said in process.log()
