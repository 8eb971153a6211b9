"""What the origin registry gave away: the figures on which "every byte left the origin once" is judged."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Counters:
    """Counts since the start, or since `clear`.

    `requests`: by kind, such as `GET manifest by tag` or `GET blob range`. `manifest_gets`: by digest,
    whichever way it was named. `blob_gets`: by digest; a redirect is not yet a GET. `blob_bytes`: body bytes
    handed to the kernel, by digest, cut and cancelled answers included. A client never holds a byte that is
    not counted; one that went away may have received less, by at most a step of 1 MiB and a socket's buffer.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    manifest_gets: Counter[str] = field(default_factory=Counter)
    blob_gets: Counter[str] = field(default_factory=Counter)
    blob_bytes: Counter[str] = field(default_factory=Counter)

    @property
    def total_blob_bytes(self) -> int:
        """Bytes of all blobs together."""
        return sum(self.blob_bytes.values())

    def bytes_of(self, digests: Iterable[str]) -> int:
        """Bytes of these blobs together."""
        return sum(self.blob_bytes[digest] for digest in digests)

    def clear(self) -> None:
        """Begin again at nothing."""
        for counter in (self.requests, self.statuses, self.manifest_gets, self.blob_gets, self.blob_bytes):
            counter.clear()

    def as_json(self) -> dict[str, Any]:
        """The document that `GET /_counters` answers."""
        return {
            "requests": dict(self.requests),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "manifest_gets": dict(self.manifest_gets),
            "blob_gets": dict(self.blob_gets),
            "blob_bytes": dict(self.blob_bytes),
            "total_blob_bytes": self.total_blob_bytes,
        }
