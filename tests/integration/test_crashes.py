"""Killed, stopped or restarted at any instant, a worker leaves what an undisturbed run leaves."""

import random
import signal
import time
from contextlib import ExitStack

import pytest

from deploy.simulate.fleet import NORMALS
from tests.integration.line import PATIENCE, Worker, actual, assert_equal, http, simulate, under_load, undisturbed

pytestmark = pytest.mark.long

FAULTS = "duplicates=0.02,disorder=0.05,late=0.005,garbage=0.01"


def finish(settings, topics, folder, instance=""):
    """Let one worker read to the end, and stop it as an operator does."""
    with Worker(settings, folder, instance=instance) as worker:
        worker.wait_for("lane_opened")
        topics.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()


def test_kill_9_at_20_random_instants_changes_nothing(kafka, topics, tmp_path):
    chance = random.Random(3)
    with under_load(kafka, "--devices", 500, "--rate", 500, "--faults", FAULTS):
        for _ in range(20):
            with Worker(kafka, tmp_path, instance="one") as worker:
                worker.wait_for("lane_opened")
                time.sleep(chance.uniform(0, 4.5))  # a checkpoint is written within a second, and every three
                assert worker.process.poll() is None, worker.tail()
                worker.kill()
    finish(kafka, topics, tmp_path, instance="one")
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))


def test_a_worker_stopped_past_its_session_does_not_overwrite_its_successor(kafka, topics, tmp_path):
    with ExitStack() as left:
        with under_load(kafka, "--devices", 500, "--rate", 1_000, "--faults", FAULTS):
            zombie = left.enter_context(Worker(kafka, tmp_path))
            zombie.wait_for("lane_opened")
            time.sleep(3)
            zombie.process.send_signal(signal.SIGSTOP)
            successor = left.enter_context(Worker(kafka, tmp_path))
            successor.wait_for("lane_opened")
            time.sleep(3)
            zombie.process.send_signal(signal.SIGCONT)
            time.sleep(5)
        topics.wait_until_read(successor)
        assert zombie.process.poll() is None, zombie.tail()
    finish(kafka, topics, tmp_path)
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))


def test_two_workers_that_join_leave_and_die_every_few_seconds_change_nothing(kafka, topics, tmp_path):
    chance = random.Random(5)
    with ExitStack() as left:
        here = []
        with under_load(kafka, "--devices", 300, "--rate", 500, "--faults", FAULTS):
            for _ in range(10):
                if len(here) < 2:
                    here.append(left.enter_context(Worker(kafka, tmp_path)))
                    here[-1].wait_for("worker_starting")
                elif chance.random() < 0.5:
                    here.pop(0).kill()
                else:
                    leaving = here.pop(0)
                    assert leaving.stop() == 0, leaving.tail()
                time.sleep(chance.uniform(1, 6))
                assert all(worker.process.poll() is None for worker in here), [worker.tail() for worker in here]
        topics.wait_until_read(here[-1])
        assert [worker.stop() for worker in here] == [0] * len(here), [worker.tail() for worker in here]
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))


def test_a_clean_stop_leaves_nothing_to_read_again(kafka, topics, tmp_path):
    assert simulate(kafka, "--devices", 100, "--count", 100_000, "--faults", FAULTS).wait(timeout=PATIENCE) == 0
    finish(kafka, topics, tmp_path)
    before = topics.ends("factory-readings-1m-changelog")
    with Worker(kafka, tmp_path) as worker:
        worker.wait_for("lane_opened")
        time.sleep(3)
        assert worker.stop() == 0
    assert topics.ends("factory-readings-1m-changelog") == before
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))


def test_forecasts_of_three_hours_survive_kill_9_in_their_midst(kafka, topics, tmp_path):
    channels = 20 * len(NORMALS)
    readings = channels * 6 * 180  # every ten seconds one of each
    load = simulate(kafka, "--devices", 20, "--rate", channels / 10, "--count", readings, "--wear", 100, 200, "--faults", FAULTS)
    assert load.wait(timeout=PATIENCE) == 0
    for _ in range(4):
        with Worker(kafka, tmp_path, instance="one") as worker:
            worker.wait_for("lane_opened")
            time.sleep(0.5)
            worker.kill()
    finish(kafka, topics, tmp_path, instance="one")
    found = actual(kafka, topics)
    assert_equal(found, undisturbed(kafka, topics))
    forecasts = found.alerts.filter(rule="critical-expected")
    assert set(forecasts["status"]) >= {"RAISED", "CLEARED"}


def test_rules_that_crash_cost_the_other_rules_and_the_worker_nothing(kafka, topics, tmp_path):
    load = simulate(kafka, "--devices", 20, "--rate", 12, "--count", 20 * 6 * 6 * 60, "--wear", 30, 60)
    assert load.wait(timeout=PATIENCE) == 0
    with Worker(kafka, tmp_path, module="tests.integration.crashing_rule") as worker:
        worker.wait_for("lane_opened")
        topics.wait_until_read(worker)
        page = http.get(f"http://127.0.0.1:{worker.port}/metrics").text
        assert worker.stop() == 0, worker.tail()
    assert "trend_rule_crashed rule=crashing-mean" in worker.log.read_text()
    assert "rule_switched_off name=crashing-value" in worker.log.read_text()
    assert 'headrace_unjudged_panes_total{domain="factory",partition="0",rule="crashing-mean"}' in page
    assert 'headrace_switched_off_rules_total{domain="factory",rule="crashing-value"} 1' in page
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))
