import hashlib
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from pydantic import SecretStr

from deploy.embedded import artifacts, preflight, processes
from deploy.embedded.artemis import Artemis
from deploy.embedded.artifacts import Pin, fetch, pins, unpack
from deploy.embedded.errors import StackError
from deploy.embedded.java import JavaService
from deploy.embedded.kafka import Kafka
from deploy.embedded.log_files import LOG_BYTES
from deploy.embedded.registry import Registry
from deploy.embedded.service import Service, address
from deploy.embedded.stack import LocalStack
from schemas.folders import private
from streams.settings import Settings


@pytest.mark.parametrize("url", ["127.0.0.1:19092", "localhost:19092", "mqtt://127.0.0.1:19092", "http://localhost:19092/apis"])
def test_an_address_on_this_machine_gives_host_and_port(url):
    host, port = address("kafka", url)
    assert host in {"127.0.0.1", "localhost"}
    assert port == 19092


@pytest.mark.parametrize("url", ["broker.example:9092", "127.0.0.1", "a:1,b:2", ""])
def test_an_address_elsewhere_is_refused_and_the_setting_named(url):
    with pytest.raises(StackError, match="HEADRACE_KAFKA"):
        address("kafka", url)


def test_a_lock_files_line_survives_reading_and_writing():
    for pin in (*pins("kafka"), *pins("registry"), *pins("mqtt")):
        assert Pin.parse(str(pin)) == pin
        assert len(pin.sha256) == 64


def test_the_broker_is_pinned_with_its_storage_tool_and_a_log_binding():
    names = {pin.coordinates.split(":")[1] for pin in pins("kafka")}
    assert {"kafka_2.13", "kafka-storage", "slf4j-simple"} <= names


def _local_repository(monkeypatch, tmp_path, content):
    """A Maven cache that holds one archive of that content, and no remote repository that answers."""
    config = tmp_path / "jgo.conf"
    config.write_text("[repositories]\nclosed = http://127.0.0.1:9/maven2\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "m2" / "org" / "example" / "thing" / "1" / "thing-1.jar"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_an_archive_in_the_cache_is_used_without_network(monkeypatch, tmp_path):
    path = _local_repository(monkeypatch, tmp_path, b"jar")
    pin = Pin(hashlib.sha256(b"jar").hexdigest(), 3, "org.example:thing:1:jar")
    assert artifacts.missing([pin]) == 0
    assert fetch([pin]) == [path]


def test_an_archive_of_other_content_is_thrown_away_and_never_used(monkeypatch, tmp_path):
    path = _local_repository(monkeypatch, tmp_path, b"half a jar")
    with pytest.raises(StackError, match=r"Cannot download org.example:thing:1:jar[\s\S]*127.0.0.1:9/maven2[\s\S]*HTTPS_PROXY"):
        fetch([Pin("0" * 64, 3, "org.example:thing:1:jar")])
    assert not path.exists()


def test_an_archive_is_unpacked_once_and_whole(monkeypatch, tmp_path):
    _local_repository(monkeypatch, tmp_path, b"")
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "file").write_text("x")
    archive = shutil.make_archive(str(tmp_path / "archive"), "gztar", tmp_path / "content")
    folder = unpack(archive, "0" * 64)
    assert (folder / "file").read_text() == "x"
    assert unpack(tmp_path / "gone", "0" * 64) == folder
    assert [each.name for each in folder.parent.iterdir()] == ["0" * 64]


def test_a_taken_port_is_reported_with_who_has_it_and_what_to_set():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StackError, match=rf"Port {port}.*pid {os.getpid()}[\s\S]*HEADRACE_KAFKA"):
            preflight.require_port("kafka", "127.0.0.1", port)


@pytest.mark.parametrize("path", ["", "/", "/apis/registry/v3", "/apis/ccompat"])
def test_a_registry_setting_without_the_path_of_the_local_one_is_refused_with_the_one_to_set(path, tmp_path):
    with pytest.raises(StackError, match=re.escape("set HEADRACE_REGISTRY=http://127.0.0.1:18081/apis/ccompat/v7")):
        Registry(Settings(registry=f"http://127.0.0.1:18081{path}", data=tmp_path)).start()


def test_the_path_of_the_local_registry_may_end_in_a_slash(monkeypatch, tmp_path):
    monkeypatch.setattr(Registry, "archives", [tmp_path / "runner.jar"])
    monkeypatch.setattr(Registry, "recording_java", lambda _: ["java"])
    assert Registry(Settings(registry="http://127.0.0.1:18081/apis/ccompat/v7/", data=tmp_path)).command()


def test_a_connection_that_was_given_a_port_is_not_taken_for_a_program_that_listens_there():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        assert preflight.holder(server.getsockname()[1]).startswith(psutil.Process().name())
        assert preflight.holder(connection.getsockname()[1]).startswith("a connection of ")
    (nobodys,) = preflight.free_ports(1)
    assert "cannot be seen from here" in preflight.holder(nobodys)


def test_free_ports_differ_and_can_be_bound():
    ports = preflight.free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        preflight.require_port("kafka", "127.0.0.1", port)


def test_too_little_memory_is_said_with_the_sum_and_the_setting():
    with pytest.raises(StackError, match="HEADRACE_BROKER_HEAP_MB"):
        preflight.require_memory(10_000_000)


def test_a_data_folder_that_cannot_be_made_is_said_with_the_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="HEADRACE_DATA"):
        preflight.require_disk(tmp_path / "file" / "data")


def test_a_full_disk_is_said_with_what_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "FREE_DISK_MIB", 10**12)
    with pytest.raises(StackError, match=r"Only \d+ MB are free"):
        preflight.require_disk(tmp_path)


def _sleeper(data, service):
    environment = Settings(data=data).environment(**processes.marks(data, service))
    return psutil.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], env=environment, stdout=subprocess.PIPE)


def test_only_processes_marked_with_the_data_folder_are_found_and_stopped(tmp_path):
    ours, other = _sleeper(tmp_path / "ours", "kafka"), _sleeper(tmp_path / "other", "kafka")
    for each in (ours, other):
        each.stdout.readline()
    assert [process.pid for process in processes.find(tmp_path / "ours").values()] == [ours.pid]
    processes.stop(list(processes.find(tmp_path / "ours").values()), 10)
    assert not processes.find(tmp_path / "ours")
    assert other.is_running()
    processes.stop([other], 10)


def test_a_suspended_process_is_stopped_too(tmp_path):
    process = _sleeper(tmp_path, "kafka")
    process.stdout.readline()
    process.suspend()
    processes.stop([process], 10)
    assert process.poll() == -15


def test_the_mqtt_broker_is_the_same_whether_mosquitto_is_installed_or_not(monkeypatch, tmp_path):
    (tmp_path / "mosquitto").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(LocalStack(Settings(data=tmp_path)).mqtt, Artemis)


def test_the_mqtt_broker_s_files_are_in_the_data_folder_whatever_that_is_called(monkeypatch, tmp_path):
    (tmp_path / "artemis.jar").touch()
    monkeypatch.setattr(Artemis, "archives", [tmp_path / "artemis.jar"])
    broker = Artemis(Settings(data=tmp_path / "a & b <c>", mqtt="mqtt://127.0.0.1:1234", mqtt_heap_mb=300))
    broker.folder.mkdir(parents=True)
    command = broker.command()
    core = ElementTree.parse(broker.folder / "etc" / "broker.xml").getroot().find("{urn:activemq:core}core")
    found = {element.tag.partition("}")[2]: element.text for element in core}
    folders = ("journal-directory", "bindings-directory", "large-messages-directory", "paging-directory")
    assert {Path(found[name]).parent for name in folders} == {broker.folder}
    assert "127.0.0.1:1234" in core.find("{urn:activemq:core}acceptors/").text
    assert "-Xmx300m" in command
    assert command[-1] == str(broker.folder)


def test_a_service_that_was_killed_is_reported_with_the_end_of_its_log(tmp_path):
    service = Kafka(Settings(data=tmp_path))
    service.log.parent.mkdir()
    service.log.write_text("\n".join(f"line {n}" for n in range(100)))
    service.process = _sleeper(tmp_path, "kafka")
    service.kill()
    assert "SIGKILL" in service.ended()
    assert service.ended().endswith("line 99")
    assert "line 80" not in service.ended()


class Version(JavaService):
    """A JVM that says its version and ends."""

    name = "kafka"
    archives = ()

    def options(self):
        return ["-XX:+UseSerialGC"]

    def command(self):
        return [*self.recording_java(), "-version"]

    def answers(self):
        return True


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a JVM to its end, by a signal if one is given; gives the service."""
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache" / "headrace").mkdir(parents=True)

    def run(kill=False):
        service = Version(Settings(data=tmp_path / "data"))
        service.start()
        if kill:
            service.kill()
        else:
            assert service.process.wait(120) == 0, service.tail()
        service.stopped()
        return service

    return run


def test_a_jvm_that_ends_leaves_its_cache_which_the_next_one_takes(run):
    first = run()
    assert [*first.cache.parent.iterdir()] == [first.cache]
    assert [file.name for file in first.folder.iterdir()] == []
    assert f"-XX:AOTCache={first.cache}" in first.recording_java()
    told = subprocess.run([*first.java(), "-XX:AOTMode=on", "-version"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_jvm_that_is_killed_leaves_no_cache(run):
    killed = run(kill=True)
    (killed.folder / "recorded.aot").write_bytes(b"half of it")
    killed.stopped()
    assert not [*killed.cache.parent.iterdir()]
    assert not [*killed.folder.iterdir()]


def test_a_cache_that_java_cannot_use_it_leaves_out(run):
    first = run()
    for content in (b"garbage", first.cache.read_bytes()[:100_000]):
        first.cache.write_bytes(content)
        assert f"-XX:AOTCache={first.cache}" in run().process.args


def test_a_cache_that_cannot_be_kept_is_no_error(run, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "move", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    assert not run().cache.exists()
    (tmp_path / "cache" / "headrace").rmdir()
    assert "-XX:AOTCacheOutput" not in " ".join(run().process.args)


def test_other_archives_have_another_cache(run, monkeypatch, tmp_path):
    (tmp_path / "one.jar").touch()
    first = run().cache
    monkeypatch.setattr(Version, "archives", (tmp_path / "one.jar",))
    assert Version(Settings(data=tmp_path)).cache != first


def test_a_childs_environment_carries_every_setting(monkeypatch, tmp_path):
    monkeypatch.delenv("HEADRACE_KAFKA", raising=False)
    wanted = Settings(kafka="127.0.0.1:1", data=tmp_path, broker_heap_mb=300)
    for name, value in wanted.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == wanted


def test_the_data_folder_is_its_owners_alone_whoever_makes_it(tmp_path):
    for number, make in enumerate((preflight.require_disk, lambda data: private(data / "kafka" / "log"))):
        data = tmp_path / str(number) / "data"
        make(data)
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    private(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_kafkas_password_is_on_no_command_line(monkeypatch, tmp_path):
    ran = []

    def run(command, **_):
        ran.append(command)
        words.extend(Path(command[-1][1:]).read_text().splitlines())
        return subprocess.CompletedProcess(command, 0, "", "")

    words = []
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(Kafka, "archives", [])
    kafka = Kafka(Settings(data=tmp_path, kafka_user="admin", kafka_password=SecretStr("a-secret")))
    kafka.folder.mkdir()
    assert "a-secret" not in " ".join(kafka.command())
    assert "a-secret" not in " ".join(ran[0])
    assert words[-1] == "SCRAM-SHA-512=[name=admin,password=a-secret]"
    assert not Path(ran[0][-1][1:]).exists()


class Chatty(Service):
    """Writes so many MiB as fast as it can, then a last line."""

    name = "kafka"
    mib = 50

    def command(self):
        line = "import os\nfor number in range({}): os.write(1 + number % 2, b'x' * 1023 + b'\\n')\nos.write(1, b'the end\\n')"
        return [sys.executable, "-c", line.format(self.mib * 1024)]

    def answers(self):
        return True


def test_a_log_stays_small_whatever_a_service_writes(tmp_path):
    service = Chatty(Settings(data=tmp_path))
    service.start()
    assert service.process.wait(60) == 0
    before = service.log.with_suffix(".log.1")
    give_up = time.monotonic() + 30
    while not (before.exists() and service.log.stat().st_size <= LOG_BYTES) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert service.log.stat().st_size + before.stat().st_size <= 2 * LOG_BYTES
    newest = service.log if service.log.stat().st_size else before
    assert newest.read_bytes().endswith(b"the end\n")
    assert sorted(each.name for each in service.log.parent.iterdir()) == ["kafka.log", "kafka.log.1"]


def test_a_small_log_is_left_alone_over_starts(tmp_path):
    for _ in range(2):
        service = Chatty(Settings(data=tmp_path))
        service.mib = 1
        service.start()
        assert service.process.wait(60) == 0
    assert service.log.read_bytes().count(b"the end\n") == 2
    assert not service.log.with_suffix(".log.1").exists()


def test_a_port_that_a_stack_has_is_said_to_be_that_stacks(tmp_path):
    listens = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); time.sleep(60)"
    environment = Settings(data=tmp_path).environment(**processes.marks(tmp_path, "kafka"))
    process = psutil.Popen([sys.executable, "-c", listens], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        with pytest.raises(StackError, match=rf"kafka \(pid {process.pid}\) of Headrace's own stack in {tmp_path}"):
            preflight.require_port("kafka", "127.0.0.1", int(process.stdout.readline()))
    finally:
        processes.stop([process], 10)


def test_down_in_another_folder_says_where_a_stack_runs(tmp_path):
    process = _sleeper(tmp_path / "there", "kafka")
    process.stdout.readline()
    try:
        environment = Settings(data=tmp_path / "here").environment(COLUMNS="200")
        said = subprocess.run([sys.executable, "-m", "deploy.cli", "down"], env=environment, capture_output=True, text=True, check=False)
        assert f"A stack runs with its data in {tmp_path / 'there'}: HEADRACE_DATA=" in said.stdout
    finally:
        processes.stop([process], 10)
