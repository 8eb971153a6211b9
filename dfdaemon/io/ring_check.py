"""The digest of a blob that streams through a ring, computed along the way of one client that reads all of it.

No store checks such a blob, and once sent its bytes are gone: each piece is hashed before it is sent, and the last
one is held back until the digest is right.
"""

import asyncio
import os

from dfdaemon.io.piece_file import READ_BYTES, PieceFile
from swarm.digest import Digest


class RingCheck:
    """Takes the spans that one client gets, in order, from the first byte on."""

    def __init__(self, digest: Digest, size: int) -> None:
        self._digest = digest
        self._size = size
        self._hash = digest.hasher()
        self._at = 0
        """Bytes before it are hashed, or in the hands of the job."""
        self._job: asyncio.Future[None] | None = None

    async def passes(self, file: PieceFile, place: int, offset: int, length: int) -> bool:
        """Tell whether bytes [offset, offset + length), at `place` of a file, may be sent.

        False with the end of a blob that is not what its digest says. May be cancelled, and asked again.
        """
        if self._job is None and offset + length > self._at:
            place, length = place + self._at - offset, offset + length - self._at
            self._at += length
            loop = asyncio.get_running_loop()
            self._job = loop.run_in_executor(None, self._feed, file.retain(), place, length)
        if self._job is not None:
            await asyncio.shield(self._job)
            self._job = None
        return self._at < self._size or self._hash.hexdigest() == self._digest.hex

    def _feed(self, file: PieceFile, place: int, length: int) -> None:
        try:
            while length:
                data = os.pread(file.fd, min(READ_BYTES, length), place)
                assert data, "a ring's memory has room for all its pieces"
                self._hash.update(data)
                place, length = place + len(data), length - len(data)
        finally:
            file.release()
