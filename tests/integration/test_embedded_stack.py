import signal
import subprocess
import sys
import time

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from deploy.embedded import processes
from deploy.embedded.errors import StackError
from deploy.embedded.stack import LocalStack, on_free_ports
from deploy.topics import COMPACTED, TopicMismatchError, ensure_topics
from schemas.catalog import ALERTS, CHANGELOGS, CONTRACTS, LATE
from tests.integration.line import PATIENCE, http


def command(settings, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        env=settings.environment(COLUMNS="200"),
        capture_output=True,
        text=True,
        timeout=120,
    )


def produce(settings, topic, value):
    producer, failures = Producer({"bootstrap.servers": settings.kafka}), []
    producer.produce(topic, value, partition=0, on_delivery=lambda error, _: error and failures.append(error))
    assert producer.flush(PATIENCE) == 0
    assert not failures


def consume(settings, topic):
    consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": "test", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = []
    while not (message := consumer.poll(30)).error():
        values.append(message.value())
    consumer.close()
    return values


def gone(data):
    """Wait until no process of that stack is left."""
    psutil.wait_procs(list(processes.find(data).values()), timeout=PATIENCE)
    return not processes.find(data)


# -- the services


def test_every_contract_has_its_topic_with_its_partitions_and_retention(stack):
    admin = AdminClient({"bootstrap.servers": stack.settings.kafka})
    topics = admin.list_topics(timeout=10).topics
    for contract in CONTRACTS.values():
        assert len(topics[contract.topic].partitions) == contract.partitions
        resource = ConfigResource(ResourceType.TOPIC, contract.topic)
        configs = admin.describe_configs([resource])[resource].result()
        if contract.compacted:
            assert configs["cleanup.policy"].value == "compact"
        else:
            assert configs["retention.ms"].value == str(contract.retention_hours * 3_600_000)


def test_every_contract_has_its_schema_registered(stack):
    assert set(http.get(f"{stack.settings.registry}/subjects").json()) >= {contract.subject for contract in CONTRACTS.values()}


def test_every_service_listens_on_this_machine_alone(stack):
    heard = {
        (service.name, socket.laddr.ip.removeprefix("::ffff:"))
        for service in stack.services
        for socket in service.process.net_connections("tcp")
        if socket.status == psutil.CONN_LISTEN
    }
    assert heard == {(service.name, "127.0.0.1") for service in stack.services}


def test_an_unknown_topic_is_not_created_by_use(stack):
    producer, errors = Producer({"bootstrap.servers": stack.settings.kafka, "message.timeout.ms": 3000}), []
    producer.produce("never-made", b"", on_delivery=lambda error, _: errors.append(error))
    producer.flush(10)
    assert errors[0] is not None


def test_every_changelog_is_compacted_and_has_its_sources_partitions(stack):
    admin = AdminClient({"bootstrap.servers": stack.settings.kafka})
    topics = admin.list_topics(timeout=10).topics
    for changelog, source in CHANGELOGS.items():
        assert len(topics[changelog].partitions) == source.partitions
        resource = ConfigResource(ResourceType.TOPIC, changelog)
        configuration = admin.describe_configs([resource])[resource].result()
        assert {name: configuration[name].value for name in COMPACTED} == COMPACTED


def test_topics_are_made_once_and_their_names_are_told(stack):
    assert ensure_topics(stack.settings.kafka) == []
    admin = AdminClient({"bootstrap.servers": stack.settings.kafka})
    (deleted,) = admin.delete_topics([LATE.topic], operation_timeout=30).values()
    deleted.result()
    while LATE.topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)
    told = command(stack.settings, "topics")
    assert (told.returncode, told.stdout) == (0, f"made {LATE.topic}\n"), told.stderr
    assert command(stack.settings, "topics").stdout == "Every topic of the catalogue is there.\n"


def test_topics_says_what_to_do_when_kafka_does_not_answer(stack):
    refused = command(stack.settings.model_copy(update={"kafka": "127.0.0.1:9"}), "topics")
    assert refused.returncode == 2
    assert "Kafka at 127.0.0.1:9 does not answer" in refused.stderr
    assert "headrace doctor" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_another_partition_count_is_an_error_that_names_both(stack):
    admin = AdminClient({"bootstrap.servers": stack.settings.kafka})

    def make_late(partitions):
        (deleted,) = admin.delete_topics([LATE.topic], operation_timeout=30).values()
        deleted.result()
        while LATE.topic in admin.list_topics(timeout=10).topics:
            time.sleep(0.1)
        admin.create_topics([NewTopic(LATE.topic, partitions, 1)], operation_timeout=30)[LATE.topic].result()
        while LATE.topic not in admin.list_topics(timeout=10).topics:
            time.sleep(0.1)

    make_late(3)
    with pytest.raises(TopicMismatchError, match="has 3 partitions, the catalogue says 4"):
        ensure_topics(stack.settings.kafka)
    refused = command(stack.settings, "topics")
    make_late(LATE.partitions)
    assert refused.returncode == 1
    assert "has 3 partitions" in refused.stderr


def test_a_killed_broker_starts_again_with_its_records(stack):
    admin = AdminClient({"bootstrap.servers": stack.settings.kafka})
    admin.create_topics([NewTopic("survivor", 1, 1)])["survivor"].result()
    produce(stack.settings, "survivor", b"before")
    stack.kafka.kill()
    stack.kafka.start()
    stack.kafka.wait()
    produce(stack.settings, "survivor", b"after")
    assert consume(stack.settings, "survivor") == [b"before", b"after"]


def test_a_second_owner_of_a_data_folder_is_refused(stack):
    with pytest.raises(StackError, match="running, starting or stopping already"), LocalStack(stack.settings):
        pass
    assert stack.kafka.running


# -- the command


@pytest.fixture(scope="module")
def background(tmp_path_factory):
    """Settings of a stack that is run by the command."""
    settings = on_free_ports(tmp_path_factory.mktemp("background"))
    yield settings
    command(settings, "down")


def test_up_status_down_and_a_second_start_keeps_the_data(background):
    first = command(background, "up")
    assert first.returncode == 0, first.stdout + first.stderr
    produce(background, ALERTS.topic, b"kept")
    assert "up already" in command(background, "up").stdout
    assert command(background, "status").stdout.count(" ready ") == 3
    assert "Stopped kafka, mqtt, registry" in command(background, "down").stdout
    assert not processes.find(background.data)
    assert command(background, "status").returncode == 1
    assert "Nothing was running" in command(background, "down").stdout
    assert command(background, "up").returncode == 0
    assert consume(background, ALERTS.topic) == [b"kept"]


def test_the_status_of_a_stack_in_the_foreground_says_whose_it_is(tmp_path):
    with LocalStack(on_free_ports(tmp_path), ("mqtt",)) as stack:
        assert "belongs to a demo" in command(stack.settings, "status").stdout


def test_a_killed_service_is_restarted_by_the_supervisor(background):
    assert command(background, "up").returncode == 0
    killed = processes.find(background.data)["mqtt"]
    killed.kill()
    give_up = time.monotonic() + PATIENCE
    while processes.find(background.data).get("mqtt") in (None, killed) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert command(background, "up").returncode == 0


def test_after_a_kill_of_the_supervisor_down_leaves_no_process(background):
    assert command(background, "up").returncode == 0
    processes.find(background.data)["supervisor"].kill()
    assert "supervisor is gone" in command(background, "status").stdout
    assert command(background, "down").returncode == 0
    assert not processes.find(background.data)


def test_after_a_kill_of_the_supervisor_up_starts_afresh(background):
    assert command(background, "up").returncode == 0
    before = processes.find(background.data)
    before["supervisor"].kill()
    assert command(background, "up").returncode == 0
    after = processes.find(background.data)
    assert after.keys() == before.keys()
    assert not {process.pid for process in after.values()} & {process.pid for process in before.values()}


def test_sigterm_to_the_supervisor_stops_every_service(background):
    assert command(background, "up").returncode == 0
    processes.find(background.data)["supervisor"].terminate()
    assert gone(background.data)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("at", ["supervisor", "kafka", "mqtt"])
def test_a_signal_to_up_while_it_starts_leaves_no_process(background, number, at):
    command(background, "down")
    starting = psutil.Popen(
        [sys.executable, "-m", "deploy.cli", "up"], env=background.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while at not in processes.find(background.data):
        assert starting.poll() is None
        time.sleep(0.02)
    starting.send_signal(number)
    assert starting.wait(60) != 0
    assert gone(background.data)


def test_a_taken_port_is_reported_by_up_and_nothing_is_left(stack, tmp_path):
    refused = command(stack.settings.model_copy(update={"data": tmp_path}), "up")
    assert refused.returncode == 1
    assert f"Port {stack.kafka.port}" in refused.stdout
    assert f"pid {stack.kafka.process.pid}" in refused.stdout
    assert not processes.find(tmp_path)


def test_settings_that_name_servers_elsewhere_are_refused_in_words(background):
    for name in ("up", "status"):
        refused = command(background.model_copy(update={"kafka": "broker.example:9092"}), name)
        assert refused.returncode == 1
        assert "HEADRACE_KAFKA" in refused.stdout
        assert "Traceback" not in refused.stderr


def test_garbage_in_the_broker_s_files_is_reported_with_its_log(tmp_path):
    settings = on_free_ports(tmp_path)
    (tmp_path / "kafka" / "log").mkdir(parents=True)
    (tmp_path / "kafka" / "log" / "meta.properties").write_text("garbage")
    with pytest.raises(StackError, match="kafka stopped, exit code"), LocalStack(settings, ["kafka"]):
        pass
    assert not processes.find(tmp_path)
