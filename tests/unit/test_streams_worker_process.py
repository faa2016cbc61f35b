import socket
from types import SimpleNamespace

import pytest
from mode import Service

from streams.worker.process import explain_crashes, require_port


def test_a_taken_web_port_is_told_in_a_sentence_that_names_the_option():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            require_port("127.0.0.1", port)
    assert str(ended.value) == (
        f"127.0.0.1:{port} is taken: give this worker another port for its web endpoints with --web-port, or HEADRACE_WEB_BIND."
    )


def test_an_address_that_is_not_of_this_machine_is_told_too():
    with pytest.raises(SystemExit, match=r"^192.0.2.1:6066 cannot be listened on .*--web-port"):
        require_port("192.0.2.1", 6066)


def test_a_free_port_is_none_of_its_business():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    require_port("127.0.0.1", port)


@pytest.mark.parametrize(("should_stop", "asked"), [(False, ["explain", "crashed"]), (True, ["crashed"])])
async def test_why_topics_are_not_those_they_were_is_said_before_a_crash_and_no_traceback_is(monkeypatch, should_stop, asked):
    happened = []

    class Part(Service):
        @Service.task
        async def _work(self):
            raise RuntimeError("a partition is not there")

    async def explain():
        happened.append("explain")

    async def crash(service, reason):
        happened.append("crashed")
        service._crash(reason)

    monkeypatch.setattr(Service, "crash", crash)
    explain_crashes(SimpleNamespace(should_stop=should_stop, same_topics=SimpleNamespace(explain=explain)))
    async with Part() as part:
        await part.wait_until_stopped()
    assert happened == asked
