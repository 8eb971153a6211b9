"""The least that a sender costs that is held to a rate, evenly: sendfile of what passes in 10 ms, in C."""

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.byte_figures import Turn
from benchmarks.io.c_program import compiled, output_of

SOURCE = Path(__file__).with_name("held_sender.c")


@dataclass(frozen=True, slots=True)
class HeldSender:
    """The compiled program."""

    program: Path

    @classmethod
    async def compile(cls, folder: Path) -> "HeldSender":
        """Compile it into a folder; raises CProgramFailed without a C compiler."""
        return cls(await compiled(SOURCE, folder))

    async def run(self, file: Path, count: int, bytes_per_s: int = 0) -> Turn:
        """Send so many bytes of a file, at this rate or as fast as it goes (0); raises CProgramFailed."""
        return Turn(
            **json.loads(await output_of([str(self.program), str(file), str(count), str(bytes_per_s)]))
        )
