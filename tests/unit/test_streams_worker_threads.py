import asyncio
import threading

import pytest

from streams.worker.threads import Busy, Threads


def test_what_is_slow_of_one_kind_holds_up_no_other_kind():
    async def answered():
        slow, quick, over = Threads("questions", 2), Threads("inserts"), threading.Event()
        asked = [asyncio.ensure_future(slow.run(over.wait)) for _ in range(6)]
        answer = await asyncio.wait_for(quick.run(lambda: "stored"), 60)
        over.set()
        return answer, await asyncio.gather(*asked)

    assert asyncio.run(answered()) == ("stored", [True] * 6)


def test_more_than_is_taken_at_once_is_refused_and_later_taken_again():
    async def asked():
        questions, over = Threads("questions", 1, most=2), threading.Event()
        under_way = [asyncio.ensure_future(questions.run(over.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="2 questions are being answered or wait for it"):
            await questions.run(over.wait)
        over.set()
        await asyncio.gather(*under_way)
        return await questions.run(divmod, 7, 2)

    assert asyncio.run(asked()) == (3, 1)


def test_what_the_work_raises_is_raised_and_leaves_its_turn_to_the_next():
    async def asked():
        questions = Threads("questions", 1, most=1)
        with pytest.raises(ZeroDivisionError):
            await questions.run(divmod, 1, 0)
        return await questions.run(divmod, 7, 2)

    assert asyncio.run(asked()) == (3, 1)
