"""The threads of a blob store: a few that may wait for the disk, and one that computes whole-blob digests."""

from concurrent.futures import ThreadPoolExecutor

from dfdaemon.io.blob_hasher import hashing_thread

DISK_THREADS = 2
"""Preallocating, unlinking and verifying wait for the disk more than they compute."""


class StoreWorkers:
    """Threads start when they are first needed. Many stores in one process may share them."""

    def __init__(self) -> None:
        self.disk = ThreadPoolExecutor(DISK_THREADS, "blob-store")
        self.hashing = hashing_thread()
        self.syncing = ThreadPoolExecutor(1, "blob-sync")
        """Waits until blobs are on the disk; nothing that anybody waits for runs here."""

    def close(self) -> None:
        """Wait for what runs, start nothing more; blocks."""
        self.disk.shutdown()
        self.hashing.shutdown()
        self.syncing.shutdown(cancel_futures=True)
