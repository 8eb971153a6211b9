"""The threads of a blob store: for what somebody waits for, for reading blobs again, and for whole-blob digests."""

from concurrent.futures import ThreadPoolExecutor

from dfdaemon.io.blob_hasher import hashing_thread

DISK_THREADS = 2
"""Preallocating and unlinking wait for the disk."""
CHECK_THREADS = 2
"""Reading blobs again, after a crash all of them: minutes, in which new blobs must be made."""


class StoreWorkers:
    """Threads start when they are first needed. Many stores in one process may share them."""

    def __init__(self) -> None:
        self.disk = ThreadPoolExecutor(DISK_THREADS, "blob-store")
        self.checking = ThreadPoolExecutor(CHECK_THREADS, "blob-check")
        self.hashing = hashing_thread()
        self.syncing = ThreadPoolExecutor(1, "blob-sync")
        """Waits until blobs are on the disk; nothing that anybody waits for runs here."""

    def close(self) -> None:
        """Wait for what runs, start nothing more; blocks."""
        self.disk.shutdown()
        self.checking.shutdown(cancel_futures=True)
        self.hashing.shutdown()
        self.syncing.shutdown(cancel_futures=True)
