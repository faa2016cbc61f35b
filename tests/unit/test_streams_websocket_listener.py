import asyncio

import pytest

from agents.gateway.message import Post
from streams.websocket_listener import BYTES_IN_FLIGHT, IN_FLIGHT, Frames, Taken


def frame(number, size=1):
    return Taken(number, Post("a/b", b"x" * size))


async def blocked(awaitable):
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return None if task.done() else task


@pytest.mark.parametrize(("count", "size"), [(IN_FLIGHT, 1), (4, BYTES_IN_FLIGHT // 4)], ids=["frames", "bytes"])
async def test_no_more_is_read_than_there_is_room_for_until_it_is_answered(count, size):
    frames = Frames()
    for number in range(count):
        await frames.put(frame(number, size))
    reading = await blocked(frames.put(frame(count, size)))
    assert [taken.id for taken in await frames.take()] == [*range(count)]
    assert await blocked(reading) is reading
    assert [taken.id for taken in await frames.take()] == [count]
    assert reading.done()


async def test_a_frame_larger_than_all_the_room_goes_alone():
    frames = Frames()
    await frames.put(frame(0, 2 * BYTES_IN_FLIGHT))
    reading = await blocked(frames.put(frame(1)))
    assert [taken.id for taken in await frames.take()] == [0]
    assert [taken.id for taken in await frames.take()] == [1]
    assert reading.done()


async def test_what_was_read_before_the_end_is_still_handed_out():
    frames = Frames()
    await frames.put(frame(0))
    frames.end()
    assert [taken.id for taken in await frames.take()] == [0]
    assert await frames.take() == []


async def test_who_waits_for_frames_hears_of_the_end():
    frames = Frames()
    waiting = await blocked(frames.take())
    frames.end()
    assert await waiting == []
