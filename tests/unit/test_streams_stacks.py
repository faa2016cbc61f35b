import asyncio
import threading

from streams.stacks import calls, dump


async def test_the_calls_of_a_task_reach_down_to_where_it_waits():
    async def outer():
        await inner()

    async def inner():
        await asyncio.Event().wait()

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    assert [code.co_name for code, _ in calls(task)] == ["outer", "inner", "wait"]
    task.cancel()


async def test_the_calls_of_a_task_reach_through_awaitable_objects_and_asynchronous_generators():
    class Actor:
        def __await__(self):
            return consume().__await__()

    async def act():
        await Actor()

    async def consume():
        async for _ in events():
            pass

    async def events():
        await asyncio.Event().wait()
        yield

    task = asyncio.create_task(act())
    await asyncio.sleep(0)
    assert [code.co_name for code, _ in calls(task)] == ["act", "consume", "events", "wait"]
    task.cancel()


async def test_a_dump_names_every_thread_and_every_task(tmp_path):
    over = threading.Event()

    def idle_thread():
        over.wait()

    async def idle_task():
        await asyncio.Event().wait()

    thread, task = threading.Thread(target=idle_thread), asyncio.create_task(idle_task(), name="the idle one")
    thread.start()
    await asyncio.sleep(0)
    with (tmp_path / "stacks").open("w+") as file:
        await asyncio.to_thread(dump, asyncio.get_running_loop(), file)
        file.seek(0)
        stacks = file.read()
    over.set()
    task.cancel()
    assert "in idle_thread" in stacks
    assert "Task the idle one" in stacks
    assert "idle_task" in stacks
