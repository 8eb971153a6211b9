"""How far a download is.

OPENING ──> RUNNING <──> CHECKING ──> WHOLE ──> CLOSING ──> CLOSED
               └────────────┴────────────────────^   given up, or failed
"""

from enum import Enum


class Phase(Enum):
    """How far the download is."""

    OPENING = "opening"
    RUNNING = "running"
    CHECKING = "checking"
    WHOLE = "whole"
    CLOSING = "closing"
    CLOSED = "closed"

    __hash__ = object.__hash__  # by identity; Enum's own takes longer than all else of a look-up


SWARMING = frozenset({Phase.RUNNING, Phase.CHECKING})
