import asyncio

import grpc

from scheduler.io.outbox import Outbox, StreamEnd
from swarm.messages import Settings


def message(number: int) -> Settings:
    return Settings(float(number))


async def test_all_of_one_turn_leave_together_in_order() -> None:
    outbox = Outbox()
    taker = asyncio.ensure_future(outbox.take())
    await asyncio.sleep(0)
    for number in range(5):
        outbox.put(message(number))
    assert await taker == [message(number) for number in range(5)]
    outbox.put(message(9))
    assert await outbox.take() == [message(9)]


async def test_too_many_messages_end_the_stream() -> None:
    outbox = Outbox(messages_max=3)
    for number in range(4):
        outbox.put(message(number))
    end = await outbox.ended
    assert end.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(end) == "3 messages wait and the daemon does not read them; attach again"


async def test_only_the_first_end_counts_and_nothing_follows_it() -> None:
    outbox = Outbox()
    outbox.end(StreamEnd(grpc.StatusCode.ABORTED, "first"))
    outbox.end(StreamEnd(grpc.StatusCode.INTERNAL, "second"))
    outbox.put(message(1))
    assert (await outbox.ended).reason == "first"
    taker = asyncio.ensure_future(outbox.take())
    await asyncio.sleep(0)
    assert not taker.done()
    taker.cancel()
