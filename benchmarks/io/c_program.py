"""Small programs in C: compiled on the spot, run with a time limit, what they print returned."""

import asyncio
import shutil
from pathlib import Path

RUN_S_MAX = 120.0
"""A turn takes a second; on a loaded machine more."""


class CProgramFailed(Exception):
    """A program cannot be made, or did not do what it was asked for; the text says why."""


async def compiled(source: Path, folder: Path) -> Path:
    """Compile a program into a folder; raises CProgramFailed, also without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CProgramFailed(f"{source.name} is compiled on the spot: apt-get install gcc libc6-dev")
    program = folder / source.stem
    await output_of([compiler, "-O2", "-pthread", "-o", str(program), str(source)])
    return program


async def output_of(words: list[str], fds: tuple[int, ...] = ()) -> bytes:
    """Run a program to its end, with these descriptors; raises CProgramFailed when it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *words, pass_fds=fds, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        async with asyncio.timeout(RUN_S_MAX):
            output, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise CProgramFailed(f"{words[0]} failed: {errors.decode(errors='replace').strip()[-500:]}")
    return output
