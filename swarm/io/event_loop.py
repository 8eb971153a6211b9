"""The event loop of every process that speaks gRPC: uvloop's, which hears all that gRPC has to tell in one turn.

grpc.aio's thread puts a byte into a socket pair for each thing that happened (grpc 1.85, PollerCompletionQueue). In a
turn of the loop all of them are handled, but one byte is taken. So where more than one happens in a turn the pair fills
up, at some 280 bytes; then the thread waits in write(), and the loop hears of one thing in each turn. In a crowd, where
a turn takes half a second, messages of the scheduler were a minute late: hosts waited for their parents, and fetched
from the origin by themselves (docs/decisions/0086).
"""

import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

import uvloop

WAKE_UPS_MAX = 4096
"""Bytes taken at once; the pair holds fewer."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Loop(uvloop.Loop):
    """Takes all of gRPC's wake-ups before it handles what they tell of."""

    def add_reader(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """Watch a file, as every loop does."""
        if _is_of_grpc(callback):
            super().add_reader(fd, partial(_hear_all, fd, partial(callback, *args)))
        else:
            super().add_reader(fd, callback, *args)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a program to its end, as asyncio.run does."""
    return uvloop.run(main, loop_factory=Loop)


def _is_of_grpc(callback: Callable[..., object]) -> bool:
    """Tell whether a reader is the one of grpc.aio's socket pair."""
    method = callback.func if isinstance(callback, partial) else callback
    return type(getattr(method, "__self__", None)).__name__ == "PollerCompletionQueue"


def _hear_all(wake_ups: socket.socket, handle: Callable[[], object]) -> None:
    """Leave the one byte that `handle` takes: what the others tell of is in its queue already."""
    count = len(wake_ups.recv(WAKE_UPS_MAX, socket.MSG_PEEK))
    if count > 1:
        wake_ups.recv(count - 1)
    handle()
