"""Tiny blobs that travel through the scheduler, in bounded memory; the least recently sent go first."""

from collections import OrderedDict

from swarm.ids import TaskId


class InlineCache:
    """Contents by task. `usage_bytes` exceeds the limit only between `put` and `evict`."""

    def __init__(self, limit_bytes: int) -> None:
        self.usage_bytes = 0
        self._limit_bytes = limit_bytes
        self._contents: OrderedDict[TaskId, bytes] = OrderedDict()

    def put(self, task: TaskId, content: bytes) -> None:
        """Hold a blob, even beyond the limit: whoever waits for it gets it before `evict`."""
        self.usage_bytes += len(content) - len(self._contents.get(task, b""))
        self._contents[task] = content
        self._contents.move_to_end(task)

    def get(self, task: TaskId) -> bytes | None:
        """Return a blob, None when it is not held."""
        content = self._contents.get(task)
        if content is not None:
            self._contents.move_to_end(task)
        return content

    def drop(self, task: TaskId) -> None:
        """Forget a blob, if it is held."""
        self.usage_bytes -= len(self._contents.pop(task, b""))

    def evict(self) -> list[TaskId]:
        """Drop what is over the limit; returns the tasks that were dropped."""
        dropped = []
        while self.usage_bytes > self._limit_bytes:
            task, content = self._contents.popitem(last=False)
            self.usage_bytes -= len(content)
            dropped.append(task)
        return dropped
