"""How many files and connections this process may have open."""

import resource


def allow_many() -> int:
    """Raise the soft limit of open files to the hard one, and return it: systemd's soft limit is 1024, and each daemon
    of a cluster is a connection of the scheduler's. Where that is not allowed all stays as it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard
