"""A process of a benchmark that is told what to do, and answers, in lines of JSON."""

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINE_BYTES_MAX = 1 << 24
"""The results of a thousand nodes take 100 KB."""
SILENCE_S_MAX = 240.0
"""A process that says nothing for so long hangs; every part of a run is shorter."""
STOP_S_MAX = 10.0
"""Until a process that was asked to end is made to."""


class ChildFailed(Exception):
    """A process of the benchmark ended early or went silent; the text ends with its log."""


@dataclass(slots=True)
class Child:
    """A running process and the file with what it writes to standard error."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @classmethod
    async def start(cls, name: str, folder: Path, module: str, prefix: tuple[str, ...] = ()) -> "Child":
        """Run a module of this project, by a command that begins with `prefix`."""
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(*prefix, sys.executable, "-m", module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                limit=LINE_BYTES_MAX,
                start_new_session=True,  # as services have: the kernel shares the processor between sessions
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        return cls(name, process, log)

    async def tell(self, message: dict[str, Any]) -> None:
        """Send one message."""
        assert self.process.stdin is not None, "made with a pipe"
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # hear() tells why
            await self.process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        """Wait for one message; raises ChildFailed."""
        assert self.process.stdout is not None, "made with a pipe"
        try:
            async with asyncio.timeout(SILENCE_S_MAX):
                line = await self.process.stdout.readline()
        except TimeoutError as error:
            raise ChildFailed(f"{self.name} said nothing for {SILENCE_S_MAX:g} s:\n{self.tail()}") from error
        if not line:
            await self.stop()
            raise ChildFailed(f"{self.name} ended early:\n{self.tail()}")
        message: dict[str, Any] = json.loads(line)
        return message

    async def stop(self) -> None:
        """End it: by closing its standard input, then by force."""
        if self.process.returncode is not None:
            return
        assert self.process.stdin is not None, "made with a pipe"
        self.process.stdin.close()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-2000:]
