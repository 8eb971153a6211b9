"""Distinct types for the names that travel through the swarm."""

from typing import NewType

HostId = NewType("HostId", str)
"""Name of a machine with a daemon; unique in the cluster, kept across restarts."""

TaskId = NewType("TaskId", str)
"""Name of the swarm's work on one blob: the text of its digest, `sha256:<hex>`."""

ReaderId = NewType("ReaderId", int)
"""Number of one client's open read of one blob, unique in its daemon."""

RequestId = NewType("RequestId", int)
"""Number of one REQUEST on one data connection, chosen by the child."""

Epoch = NewType("Epoch", int)
"""Number of one lease of one task. Grows with every grant; 0 is a fetch that no scheduler granted."""

UNGRANTED = Epoch(0)
"""The epoch of pieces that a daemon fetched from the origin on its own."""
