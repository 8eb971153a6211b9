"""Child processes of a test: started, awaited until ready, stopped or killed by pid, always reaped.

Everything here blocks; inside an asyncio test use `asyncio.to_thread` for what takes long.
"""

import atexit
import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_S = 0.005  # real parts are up within 12 to 70 ms
READY_S = 20.0  # a loaded machine with two cores
STOP_S = 5.0  # after that SIGTERM becomes SIGKILL
PROBE_S = 2.0  # one probe of readiness
TAIL_CHARACTERS = 4000
PORTS = range(15000, 32000)  # below the kernel's ephemeral range, so that no outgoing connection takes one

Ready = Callable[[], bool]

_next_port = itertools.count(random.SystemRandom().randrange(len(PORTS)))
_running: set["ChildProcess"] = set()


class ProcessFailed(AssertionError):
    """A child did not become ready, or ended by itself; the message ends with its log."""


class ChildProcess:
    """One child; its output goes to `directory/name.out` and `.err`. Once ended it may be started again."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        directory: Path,
        *,
        env: Mapping[str, str] | None = None,
        ready: Ready | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(word) for word in argv]
        self.out = directory / f"{name}.out"
        self.err = directory / f"{name}.err"
        self._directory = directory
        self._env = None if env is None else {**os.environ, **env}
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it and wait until it is ready. Output is appended to what an earlier run wrote."""
        assert not self.running, f"{self.name} runs already"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self._directory if self._directory.is_absolute() else None,
                env=self._env,
                start_new_session=True,
            )
        _running.add(self)
        if self._ready is not None:
            self.wait_until(self._ready)
        return self

    def wait_until(self, ready: Ready, deadline_s: float = READY_S) -> None:
        """Poll until `ready()`. Raises ProcessFailed if the child ends first or takes too long."""
        deadline = time.monotonic() + deadline_s
        while not ready():
            if not self.running:
                raise ProcessFailed(f"{self.name} ended with {self.returncode}\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ProcessFailed(f"{self.name} was not ready within {deadline_s} s\n{self.tail()}")
            time.sleep(POLL_S)

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return its exit code. Raises ProcessFailed."""
        assert self._process is not None, f"{self.name} was not started"
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{self.name} still runs after {timeout_s} s\n{self.tail()}") from None
        _running.discard(self)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a child that has ended does not mind."""
        if self.running:
            os.kill(self.pid, number)

    def stop(self, grace_s: float = STOP_S) -> int | None:
        """SIGTERM, and SIGKILL after `grace_s`. Returns the exit code, or None if it never ran."""
        if self._process is None:
            return None
        self.signal(signal.SIGTERM)
        with contextlib.suppress(ProcessFailed):
            return self.wait(grace_s)
        return self.kill()

    def kill(self) -> int | None:
        """SIGKILL, as a crash would; reaped."""
        if self._process is None:
            return None
        self.signal(signal.SIGKILL)
        return self.wait(STOP_S)

    def log(self) -> str:
        """Everything that it wrote to stdout and stderr."""
        return "".join(path.read_text(errors="replace") for path in (self.out, self.err) if path.exists())

    def tail(self) -> str:
        """The end of its log, for a failure's message."""
        return f"--- {self.name}: {' '.join(self.argv)}\n{self.log()[-TAIL_CHARACTERS:]}"

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(self.tail())


@atexit.register
def _kill_what_is_left() -> None:
    for child in tuple(_running):
        child.kill()


def free_port() -> int:
    """A TCP port on which nobody listens, and which this process has not handed out lately."""
    for number in itertools.islice(_next_port, len(PORTS)):
        port = PORTS[number % len(PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port))
            return port
    raise AssertionError(f"no free port in {PORTS}")


@contextlib.contextmanager
def short_directory(prefix: str = "df") -> Iterator[Path]:
    """A temporary directory with a name short enough for Unix sockets in it (107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def tcp_open(host: str, port: int) -> Ready:
    """Ready when the port accepts connections."""

    def probe() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((host, port), PROBE_S):
            return True
        return False

    return probe


def unix_open(path: Path) -> Ready:
    """Ready when the Unix socket accepts connections."""

    def probe() -> bool:
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.settimeout(PROBE_S)
            connection.connect(str(path))
            return True
        return False

    return probe


def http_answers(url: str, status: int = 200) -> Ready:
    """Ready when a GET of the URL gives this status."""

    def probe() -> bool:
        with contextlib.suppress(OSError):
            return http_status(url) == status
        return False

    return probe


def http_status(url: str, headers: Mapping[str, str] | None = None) -> int:
    """The status of a GET, errors included. Raises OSError if there is no answer."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=PROBE_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def run(argv: Sequence[str | Path], timeout_s: float, *, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its stdout. Raises ProcessFailed with all its output."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env=None if env is None else {**os.environ, **env},
        )
    except subprocess.TimeoutExpired as error:
        raise ProcessFailed(f"{' '.join(words)} still runs after {timeout_s} s\n{error.output!r}") from None
    if done.returncode != 0:
        output = (done.stdout + done.stderr)[-TAIL_CHARACTERS:]
        raise ProcessFailed(f"{' '.join(words)} ended with {done.returncode}\n{output}")
    return done.stdout
