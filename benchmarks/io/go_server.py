"""Go's net/http over a folder, built on the spot: what serving bytes is measured against where Go is installed."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.io.static_nginx import listening_socket

SOURCE = Path(__file__).with_name("go_server.go")
PLACES = f"{os.environ.get('PATH', os.defpath)}:/usr/local/go/bin"
BUILD_S_MAX = 300.0
"""The first build on a machine compiles Go's library too."""
LISTENER = 3
"""The descriptor that the server expects its socket at."""


class NoGo(Exception):
    """There is no Go here, or it does not build; the text says what to do."""


@dataclass(frozen=True, slots=True)
class GoServer:
    """A running server at `address` (host:port)."""

    address: str
    pid: int


@asynccontextmanager
async def go_server(folder: Path, root: Path) -> AsyncIterator[GoServer]:
    """Build the server into `folder`, and let it serve the files below `root`. Raises NoGo."""
    program = await _build(folder)
    with listening_socket() as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        # the shell moves the socket to where the server expects it
        words = ("sh", "-c", f'exec "$0" "$1" {LISTENER}<&{listener.fileno()}', str(program), str(root))
        process = await asyncio.create_subprocess_exec(
            *words, pass_fds=(listener.fileno(),), start_new_session=True
        )
    try:
        yield GoServer(address, process.pid)
    finally:
        process.kill()
        await process.wait()


async def _build(folder: Path) -> Path:
    go = shutil.which("go", path=PLACES)
    if go is None:
        raise NoGo("the path upload_go needs Go: https://go.dev/dl")
    program = folder / "go_server"
    process = await asyncio.create_subprocess_exec(
        *(go, "build", "-o", str(program), str(SOURCE)), stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(BUILD_S_MAX):
            _, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise NoGo(f"Go does not build the server: {errors.decode(errors='replace')[-500:]}")
    return program
