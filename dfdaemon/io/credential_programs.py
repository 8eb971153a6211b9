"""Runs the programs that know a host's accounts: Docker's credential helpers and kubelet's plugins."""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence

from swarm.errors import OurselvesError

PROGRAM_S = 30.0
"""A plugin asks a cloud's API; kubelet gives it a minute, but our clients wait."""
OUTPUT_BYTES_MAX = 1 << 20
"""An answer has a few KiB."""


async def run_program(argv: Sequence[str], asked: bytes, environment: Mapping[str, str]) -> str:
    """Run a program with `asked` on its standard input; return what it printed.

    Raises OurselvesError; what the program said is not quoted: it may hold a secret.
    """
    name = os.path.basename(argv[0])
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **environment},
            limit=OUTPUT_BYTES_MAX,
        )
    except OSError as error:
        raise OurselvesError(f"{name} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(PROGRAM_S):
            return await _talk(process, asked, name)
    except TimeoutError as error:
        raise OurselvesError(f"{name} did not answer within {PROGRAM_S:g} s") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _talk(process: asyncio.subprocess.Process, asked: bytes, name: str) -> str:
    assert process.stdin is not None, "it was started with a pipe"
    assert process.stdout is not None, "it was started with a pipe"
    with contextlib.suppress(ConnectionError):  # it need not read all that it is asked
        process.stdin.write(asked)
        await process.stdin.drain()
    process.stdin.close()
    said = bytearray()
    while chunk := await process.stdout.read(65536):
        said += chunk
        if len(said) > OUTPUT_BYTES_MAX:
            raise OurselvesError(f"{name} prints more than {OUTPUT_BYTES_MAX} bytes")
    code = await process.wait()
    if code != 0:
        raise OurselvesError(f"{name} ended with {code}: run it by hand to see why")
    return said.decode(errors="replace")
