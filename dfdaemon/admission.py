"""How many uploads may run at once: a fixed number of slots, or as many as it takes to fill a known uplink.

Of a known uplink, an upload takes its child's pace: the rate at which that child took pieces before. A child that
took them as fast as its share of the uplink allowed could be faster; one that took less is held back by its own side.
A child not seen before is thought to take all, but an upload that runs for t seconds takes less than its bytes / t.
"""

from collections.abc import Collection
from dataclasses import dataclass

from dfdaemon.config import DaemonConfig
from swarm.ids import HostId, RequestId
from swarm.pieces import PIECE_BYTES_USUAL

FILLED = 0.97
"""Another upload starts while less than this part of the uplink is taken."""
AT_ONCE_MAX = 16
"""Uploads at once to fill an uplink; with more, each piece takes too long to arrive and be passed on."""
EXPORTS_MAX = 4
"""Uploads to other zones that start even where all slots are taken: what an importer asks for, its whole zone waits
for. Among all the children of a busy host it waited 0.3 s, so it waits 0.06 (simulated, docs/decisions/0070)."""
LOOK_INTERVAL_S = 0.05
"""While children wait for a known uplink: running uploads may turn out slower than thought, this is when to look."""
SHARE_REACHED = 0.9
"""An upload that had this much of its fair share was held back by our uplink, not by its child."""
PACES_MAX = 1024
"""Children whose pace is remembered."""
PATIENCE = 10
"""An upload may take this many times the usual before its slot is taken back."""
DURATION_MIN_S = 5.0
"""No slot is taken back sooner: a child's disk may pause."""
DURATION_MAX_S = 60.0
"""No slot is held longer. Of a piece larger than usual both are longer by as much."""
SECONDS_PER_BYTE_START = 1e-6
"""The usual time of a byte before any is known: 1 MB/s."""
NEVER = float("inf")
WEIGHT = 0.2
"""Weight of the newest upload in the usual time."""

UploadKey = tuple[HostId, RequestId]


@dataclass(slots=True)
class Upload:
    """A running upload. `crowd`: the most that ran at once meanwhile; `aborted`: its slot was taken back."""

    child: HostId
    length: int
    started: float
    deadline: float
    crowd: int
    aborted: bool = False


class Admission:
    """The running uploads, and whether there is room for another."""

    def __init__(self, config: DaemonConfig) -> None:
        self.uplink_bytes_per_s = config.upload_bytes_per_s
        self.at_once_max = AT_ONCE_MAX if self.uplink_bytes_per_s else config.peer.upload_slots
        self.running: dict[UploadKey, Upload] = {}
        self._paces: dict[HostId, float] = {}
        self._seconds_per_byte = SECONDS_PER_BYTE_START
        self._deadline = NEVER
        """No upload is overdue before: looked at anew then, not at each start and end."""

    @property
    def is_measured(self) -> bool:
        """Whether the uplink is known, and uploads are started to fill it."""
        return self.uplink_bytes_per_s > 0

    def room(self, now: float) -> int:
        """Return how many more uploads should start now."""
        free = self.at_once_max - len(self.running)
        if not self.is_measured:
            return free
        if free <= 0 or not self.running:
            return min(free, 1)
        return 1 if self.taken_bytes_per_s(now) < FILLED * self.uplink_bytes_per_s else 0

    def room_for_exports(self, far: Collection[HostId]) -> int:
        """Return how many uploads to these children, in other zones, may start, whatever else runs."""
        return EXPORTS_MAX - sum(upload.child in far for upload in self.running.values())

    def taken_bytes_per_s(self, now: float) -> float:
        """Estimate how much of a known uplink the running uploads take."""
        return sum(self._rate(upload, now) for upload in self.running.values())

    def count_of(self, child: HostId) -> int:
        """Return the running uploads to one child."""
        return sum(upload.child == child for upload in self.running.values())

    def start(self, key: UploadKey, length: int, now: float, is_export: bool = False) -> None:
        """An upload of `length` bytes starts; `is_export`: to another zone."""
        slots = self.at_once_max + (EXPORTS_MAX if is_export else 0)
        assert len(self.running) < slots, "an upload starts only where there is a slot"
        usual = PATIENCE * length * self._seconds_per_byte
        longer = max(1.0, length / PIECE_BYTES_USUAL)
        deadline = now + min(DURATION_MAX_S * longer, max(DURATION_MIN_S * longer, usual))
        self.running[key] = Upload(key[0], length, now, deadline, 0)
        self._deadline = min(self._deadline, deadline)
        for upload in self.running.values():
            upload.crowd = max(upload.crowd, len(self.running))

    def end(self, key: UploadKey, sent_bytes: int, seconds: float) -> None:
        """An upload is over; unknown ones are ignored."""
        upload = self.running.pop(key, None)
        if not self.running:
            self._deadline = NEVER
        if upload is None or not sent_bytes or seconds <= 0:
            return
        self._seconds_per_byte += WEIGHT * (seconds / sent_bytes - self._seconds_per_byte)
        if self.is_measured:
            self._learn(upload, sent_bytes / seconds)

    def overdue(self, now: float) -> list[UploadKey]:
        """Return the uploads whose time is up, once, to be aborted."""
        if now < self._deadline:
            return []
        late = [key for key, upload in self.running.items() if upload.deadline <= now and not upload.aborted]
        for key in late:
            self.running[key].aborted = True
        self._deadline = min((u.deadline for u in self.running.values() if not u.aborted), default=NEVER)
        return late

    def next_deadline(self) -> float:
        """Return when one may be overdue, and none is before; inf when none can be."""
        return self._deadline

    def _rate(self, upload: Upload, now: float) -> float:
        pace = self._paces.get(upload.child, float(self.uplink_bytes_per_s))
        elapsed = now - upload.started
        return min(pace, upload.length / elapsed) if elapsed > 0 else pace

    def _learn(self, upload: Upload, rate: float) -> None:
        known = self._paces.pop(upload.child, 0.0)
        share = self.uplink_bytes_per_s / upload.crowd
        pace = max(known, rate) if rate >= SHARE_REACHED * share else rate
        self._paces[upload.child] = min(pace, float(self.uplink_bytes_per_s))
        if len(self._paces) > PACES_MAX:
            del self._paces[next(iter(self._paces))]
