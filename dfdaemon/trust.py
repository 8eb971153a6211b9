"""Whose word about what a repository holds opens copies that came from somewhere else.

A blob's digest names its bytes whichever registry they came from, so one copy serves them all. But that a digest
belongs to a repository only its registry can say, and whoever runs a registry can let it say anything: a client with
a registry of its own could have it claim the digest of somebody's private blob. So only registries that are trusted
to tell the truth share copies. Each other one has copies of its own, which can only have come from itself: they have
other names in the whole cluster (Digest.task_within).
"""

from fnmatch import fnmatchcase

from dfdaemon.config import OriginConfig


class Trust:
    """Tells with whom registries share copies."""

    def __init__(self, config: OriginConfig) -> None:
        self._listed = {entry.name: entry.trusted for entry in config.registries}
        self._patterns = config.trusted_registries

    def scope(self, registry: str) -> str:
        """Return the scope of this registry's copies: empty, shared with all that are believed, or its own name.

        Its own entry goes before patterns.
        """
        believed = self._listed.get(registry)
        if believed is None:
            believed = any(fnmatchcase(registry, pattern) for pattern in self._patterns)
        return "" if believed else registry
