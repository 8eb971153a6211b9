"""Whose word about what a repository holds opens copies that came from somewhere else.

A blob's digest names its bytes whichever registry they came from, so one copy serves them all. But that a digest
belongs to a repository only its registry can say, and whoever runs a registry can let it say anything: a client with
a registry of its own could have it claim the digest of somebody's private blob. So only registries that are trusted
to tell the truth share copies; requests to all others go past the swarm, and get what that registry itself sends.
"""

from fnmatch import fnmatchcase

from dfdaemon.config import OriginConfig


class Trust:
    """Tells which registries share copies."""

    def __init__(self, config: OriginConfig) -> None:
        self._listed = {entry.name: entry.trusted for entry in config.registries}
        self._patterns = config.trusted_registries

    def shares(self, registry: str) -> bool:
        """Tell whether what this registry says of digests may be believed. Its own entry goes before patterns."""
        listed = self._listed.get(registry)
        if listed is not None:
            return listed
        return any(fnmatchcase(registry, pattern) for pattern in self._patterns)
