"""Children start, are waited for, end, and are reaped."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.support.processes import ChildProcess, ProcessFailed, free_port, run, tcp_open, unix_open

SERVE = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print('up', flush=True)"
)
SLEEP = "; import time; time.sleep(60)"


def python(directory: Path, code: str, *words: str, **options: object) -> ChildProcess:
    return ChildProcess("child", ["python3", "-c", code, *words], directory, **options)  # type: ignore[arg-type]


def test_start_returns_when_the_child_is_ready(tmp_path: Path) -> None:
    port = free_port()
    with python(tmp_path, SERVE + SLEEP, str(port), ready=tcp_open("127.0.0.1", port)) as child:
        assert child.running
        assert child.log() == "up\n"
    assert child.returncode == -signal.SIGTERM


def test_a_child_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    child = python(tmp_path, "import sys; sys.exit('the reason')", ready=lambda: False)
    with pytest.raises(ProcessFailed, match=r"ended with 1(.|\n)*the reason"):
        child.start()


def test_a_child_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    child = python(tmp_path, "print('half', flush=True)" + SLEEP).start()
    with pytest.raises(ProcessFailed, match=r"not ready within 0\.01 s"):
        child.wait_until(lambda: False, deadline_s=0.01)
    assert not child.running


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)" + SLEEP
    child = python(tmp_path, code, ready=None).start()
    child.wait_until(lambda: child.log() == "deaf\n")
    assert child.stop(grace_s=0.05) == -signal.SIGKILL


def test_a_killed_child_is_reaped_and_can_start_again(tmp_path: Path) -> None:
    child = python(tmp_path, "print('hello', flush=True)" + SLEEP).start()
    first = child.pid
    assert child.kill() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    child.start()
    child.wait_until(lambda: child.log().endswith("hello\n"))
    child.stop()


def test_a_failing_test_gets_the_log_as_a_note(tmp_path: Path) -> None:
    def failing() -> None:
        with python(tmp_path, "print('a clue', flush=True)" + SLEEP) as child:
            child.wait_until(lambda: "clue" in child.log())
            raise RuntimeError("the test failed")

    with pytest.raises(RuntimeError) as caught:
        failing()
    assert "a clue" in caught.value.__notes__[0]


def test_a_free_port_is_free_and_given_out_once() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_socket_is_ready_when_it_accepts(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert not unix_open(path)()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not unix_open(path)()
        listener.listen()
        assert unix_open(path)()


def test_a_command_that_fails_tells_what_it_said() -> None:
    assert run(["echo", "fine"], 5.0) == "fine\n"
    with pytest.raises(ProcessFailed, match=r"ended with 3(.|\n)*oh"):
        run(["sh", "-c", "echo oh >&2; exit 3"], 5.0)
    with pytest.raises(ProcessFailed, match="still runs after"):
        run(["sleep", "60"], 0.01)
