import asyncio
import signal
import subprocess
import sys
import threading
import time

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


def test_a_process_that_was_suspended_for_longer_than_it_may_be_busy_goes_on():
    code = "from streams.stacks import end_after; end_after(2); print('armed', flush=True); input(); print('goes on')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "armed\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        process.send_signal(signal.SIGCONT)
        assert process.communicate("\n") == ("goes on\n", None)
    assert process.returncode == 0


def test_code_that_keeps_the_interpreter_lock_ends_with_its_stack():
    # a regular expression that takes for ever, in C
    code = "import re; from streams.stacks import end_after; end_after(1); re.match('(a+)+$', 'a' * 100 + 'b')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGPROF
    assert 'File "<string>", line 1 in <module>' in done.stderr
