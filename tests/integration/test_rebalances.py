"""Rebalances in the midst of gathering batches, on real workers: every record is in the state once."""

import re
from contextlib import ExitStack

import pytest

from tests.integration.line import Worker, actual, assert_equal, under_load, undisturbed, wait

pytestmark = pytest.mark.long

REBALANCES = 10  # as far as they are logged: lines that repeat come ever more seldom
MODULE = "tests.integration.hesitant_worker"


def test_rebalances_while_batches_are_gathered_cost_no_record(kafka, topics, tmp_path):
    with ExitStack() as left:

        def joined():
            worker = left.enter_context(Worker(kafka, tmp_path, module=MODULE))
            worker.wait_for("Worker ready")
            return worker

        def generation():
            return max(int(found) for found in re.findall(r"synced group factory with generation (\d+)", here[0].log.read_text()))

        with under_load(kafka, "--devices", 500, "--rate", 2_000):
            here = [joined(), joined(), joined()]
            assert here.pop(0).stop() == 0  # what it had goes to the others
            wait(lambda: generation() >= REBALANCES, here[0].tail, worker=here[0])
        topics.wait_until_read(here[0])
        assert [worker.stop() for worker in here] == [0, 0], [worker.tail() for worker in here]
    ends, outcome = topics.ends(), actual(kafka, topics)
    assert topics.committed() == ends
    assert {partition: counts["received"] for partition, counts in outcome.counts.items()} == ends
    assert_equal(outcome, undisturbed(kafka, topics))
