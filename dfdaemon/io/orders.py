"""What the scheduler says that is not about a download: answers about repositories, tags to resolve, and content
that nobody may have. A purge may also come from this machine.
"""

from collections.abc import Callable

from dfdaemon import events
from dfdaemon.io.active_blob import ActiveBlobs
from dfdaemon.io.blob_store import BlobStore
from dfdaemon.io.cluster import ClusterKnowledge
from dfdaemon.io.denied import DeniedContent
from dfdaemon.io.jobs import Jobs
from dfdaemon.io.knowledge import Knowledge
from dfdaemon.io.tags import Tags
from dfdaemon.permissions import Place
from swarm.digest import Digest
from swarm.facts import Note
from swarm.ids import TaskId
from swarm.repositories import Denials, Purge, RepositoryAnswer, ResolveTag, Word

DENIED = "an administrator of the cluster denies this content"
PURGED = "an administrator had all copies removed: ask again"


class Orders:
    """Carries them out on this daemon."""

    def __init__(
        self,
        cluster: ClusterKnowledge,
        tags: Tags,
        knowledge: Knowledge,
        denied: DeniedContent,
        store: BlobStore,
        blobs: ActiveBlobs,
        jobs: Jobs,
        post: Callable[[events.Event], None],
        note: Callable[[Note], None],
    ) -> None:
        self._cluster = cluster
        self._tags = tags
        self._knowledge = knowledge
        self._denied = denied
        self._store = store
        self._blobs = blobs
        self._jobs = jobs
        self._post = post
        self._note = note

    @property
    def denied_count(self) -> int:
        """How many digests nobody may have."""
        return len(self._denied.listed())

    def told(self, word: Word) -> None:
        """Take what the scheduler says."""
        if isinstance(word, RepositoryAnswer):
            self._cluster.answered(word)
        elif isinstance(word, ResolveTag):
            self._jobs.start(self._tags.resolve_for_cluster(word))
        elif isinstance(word, Denials):
            self._deny(word)
        else:
            self.purge(word)

    def _deny(self, message: Denials) -> None:
        before = self._denied.listed()
        for task in self._denied.change(message):
            self._note(Note("blob_denied", task))
            self._withdraw(task, DENIED)
        for task in before:
            if task not in self._denied:
                self._note(Note("blob_allowed", task))

    def purge(self, purge: Purge) -> None:
        """Forget a blob's copy here and what is known of it, or what a tag meant."""
        if purge.task:
            self._note(Note("blob_purged", purge.task))
            self._withdraw(purge.task, PURGED)
        else:
            self._knowledge.tables.drop_tag(Place(purge.registry, purge.repository), purge.tag)

    def _withdraw(self, digest: TaskId, reason: str) -> None:
        """Remove the copies of some content, under whatever name, and cut what is on its way."""
        self._knowledge.tables.drop_member(Digest.parse(digest))
        active = [blob.task for blob in self._blobs.active.values() if str(blob.digest) == digest]
        for task in dict.fromkeys([digest, *self._store.copies(digest), *active]):
            self._post(events.BlobWithdrawn(task, reason))
            self._jobs.start(self._store.remove(task))

    def enforce(self) -> None:
        """Remove what is denied and still on disk: it was denied while the daemon could not delete it."""
        for task in self._denied.listed():
            if self._store.copies(task):
                self._withdraw(task, DENIED)
