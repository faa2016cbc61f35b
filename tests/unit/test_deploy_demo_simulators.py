"""What is waited for while a simulator ends is said as it is."""

import pytest

from deploy.demo.simulators import FactorySimulator
from deploy.simulate.status import Status
from streams.settings import Settings


@pytest.mark.parametrize(
    ("unanswered", "said"),
    [
        (1_833, "for the acknowledgements of 1,833 of the simulator's messages"),
        (0, "until the simulator has written down what it sent"),
    ],
)
def test_nobody_waits_for_no_acknowledgements(tmp_path, unanswered, said):
    simulator = FactorySimulator(Settings(data=tmp_path), devices=1)
    simulator.folder.mkdir()
    Status(2_000, unanswered, 1).write(simulator.folder / "status.json")
    assert simulator.awaited == said
