"""Where the bytes of each blob came from, for `dfget`, `dfctl explain` and the metrics."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from swarm.ids import HostId, TaskId

TASKS_MAX = 2000
"""Blobs remembered; a node's images have a few hundred."""
HOSTS_MAX = 64
"""Parents remembered per blob; rarer ones are summed under the name of OTHERS."""
OTHERS = HostId("(others)")
REFUSED_S = 5.0
"""So long after a download failed its blob is refused: a client that was cut off asks again at once, and must hear
that it should go on at its next host. Cut off again without a byte, containerd gives the whole pull up."""


@dataclass(slots=True)
class Account:
    """One blob's story on this host. Bytes; times in seconds since the epoch."""

    size: int
    digest: str = ""
    registry: str = ""
    repository: str = ""
    started_at: float = field(default_factory=time.time)
    first_piece_at: float = 0.0
    finished_at: float = 0.0
    origin_bytes: int = 0
    inline_bytes: int = 0
    disk_bytes: int = 0
    peer_bytes: dict[HostId, int] = field(default_factory=dict)
    resumed_bytes: int = 0
    uploaded_bytes: int = 0
    failure: str = ""
    failed_at: float = 0.0

    def arrived(self, count: int, host: HostId | None) -> None:
        """Add bytes that were verified and stored, taken from a host, or from the origin (None)."""
        self.first_piece_at = self.first_piece_at or time.time()
        if host is None:
            self.origin_bytes += count
            return
        if host not in self.peer_bytes and len(self.peer_bytes) >= HOSTS_MAX:
            host = OTHERS
        self.peer_bytes[host] = self.peer_bytes.get(host, 0) + count

    @property
    def received_bytes(self) -> int:
        """All that came over the network since the daemon's start."""
        return self.origin_bytes + self.inline_bytes + sum(self.peer_bytes.values())

    def finish(self) -> None:
        """The blob is whole and checked."""
        self.finished_at = time.time()
        self.failure = ""

    def fail(self, reason: str) -> None:
        """The download failed."""
        self.failure = reason
        self.failed_at = time.time()

    @property
    def is_refused(self) -> bool:
        """Whether the download failed a moment ago: who asks now should not wait for another attempt."""
        return bool(self.failure) and 0 <= time.time() - self.failed_at < REFUSED_S

    @property
    def seconds(self) -> float:
        """How long the download took, or runs by now."""
        return (self.finished_at or time.time()) - self.started_at


class Ledger:
    """Accounts of the last TASKS_MAX blobs."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[TaskId, Account] = OrderedDict()

    def open(self, task: TaskId, size: int) -> Account:
        """Return the account of a blob, new if need be; the oldest is dropped above TASKS_MAX."""
        account = self._accounts.get(task)
        if account is None:
            account = self._accounts[task] = Account(size)
            if len(self._accounts) > TASKS_MAX:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(task)
        return account

    def named(self, digest: str) -> TaskId | None:
        """Return the latest task on this content, if one is remembered."""
        tasks = (task for task, account in reversed(self._accounts.items()) if account.digest == digest)
        return next(tasks, None)

    def get(self, task: TaskId) -> Account | None:
        """Return the account of a blob, if it is remembered."""
        return self._accounts.get(task)
