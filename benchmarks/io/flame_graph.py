"""Where a process spends its time: a flame graph by py-spy, which looks at it from outside."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

SAMPLES_PER_S = 500
BEGIN_S = 1.0
"""Until py-spy has found its way around the process."""
END_S_MAX = 30.0
"""Until it has drawn."""


class NoProfiler(Exception):
    """py-spy is not here, or may not look; the text says what to do."""


@asynccontextmanager
async def flame_graph(pid: int, file: Path | None) -> AsyncIterator[None]:
    """Draw what a process does meanwhile into an SVG; no file: draw nothing.

    Raises NoProfiler.
    """
    if file is None:
        yield
        return
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise NoProfiler("--profile needs py-spy: pip install 'damselfly[dev]'")
    words = ["record", "--nonblocking", "--rate", str(SAMPLES_PER_S), "--output", str(file)]
    process = await asyncio.create_subprocess_exec(
        *(program, *words, "--pid", str(pid)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await asyncio.sleep(BEGIN_S)
        yield
    finally:
        problem = await _end(process)
    if not file.exists():  # noqa: ASYNC240 - once, at the end
        raise NoProfiler(f"py-spy drew nothing: {problem}")


async def _end(process: asyncio.subprocess.Process) -> str:
    """Let it draw, and return what it complains of."""
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(END_S_MAX):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        _, errors = await process.communicate()
    return errors.decode(errors="replace").strip()[-300:]
