"""A mirror for tests that are not coroutines: it lives through all examples of a module, on a loop of its own."""

import asyncio
from pathlib import Path

from benchmarks.io.image import Image
from benchmarks.io.origin_registry import OriginRegistry
from tests.support.mirror import Answer, Mirror, running_mirror


class Bench:
    """The mirror, the origin behind it, and what the loop complained about."""

    def __init__(self, image: Image, directory: Path) -> None:
        self.image = image
        self.runner = asyncio.Runner()
        self.faults: list[object] = []
        self.runner.get_loop().set_exception_handler(lambda loop, context: self.faults.append(context))
        self._origin = OriginRegistry([image])
        self.runner.run(self._origin.__aenter__())
        self._running = running_mirror(self._origin, directory, any_registry=False)
        self.mirror: Mirror = self.runner.run(self._running.__aenter__())

    def ask(self, method: str, path: str, headers: list[tuple[str, str]]) -> Answer:
        """One request."""
        return self.runner.run(self.mirror.ask(method, path, headers))

    def close(self) -> None:
        """Stop everything."""
        self.runner.run(self._running.__aexit__(None, None, None))
        self.runner.run(self._origin.__aexit__(None, None, None))
        self.runner.close()
