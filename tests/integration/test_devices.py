"""Two workers of a group, each asked for the devices of both; they are where others can reach them, so they ask each other for a token."""

from contextlib import closing
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr

from agents.device import view
from agents.factory.domain import FACTORY
from agents.watch import Watch
from bench.jobs import OURS, fresh
from deploy.embedded.preflight import free_ports
from schemas.catalog import READINGS
from schemas.registry import Registry
from streams.peers import RETRY_SECONDS, partition_of
from tests.integration.line import PATIENCE, UNREGISTERED, Topics, Worker, http, simulate, wait

TOKEN = "s3cret"
DEVICES = 40
PATIENT = "tests.integration.patient_worker"


class Member(Worker):
    """A static member that answers whoever knows the token."""

    def __init__(self, settings, folder, instance, module, port):
        self.settings = settings.model_copy(
            update={"web_bind": "0.0.0.0", "web_token": SecretStr(TOKEN), "advertise": f"http://127.0.0.1:{port}"}
        )
        super().__init__(self.settings, folder, instance=instance, module=module, port=port)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)

    def get(self, page, **parameters):
        return self.client.get(page, params=parameters or None)

    def knows(self, device):
        """Whether it answers; if not, it says that it will."""
        try:
            answer = self.get(f"/api/devices/{device}")
        except httpx.TransportError:
            return False
        if answer.status_code != 200:
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, str(RETRY_SECONDS)), answer.text
        return answer.status_code == 200

    def wait_until_it_knows(self, devices):
        for device in devices:
            wait(lambda device=device: self.knows(device), self.tail, worker=self)

    def partitions(self):
        names = self.get("/ready").json()["checks"]["assignment"]["detail"]["partitions"]
        return {int(name.partition("/")[2]) for name in names if name.startswith(f"{READINGS.topic}/")}


class Group(dict):
    """Its members by name."""

    def __init__(self, settings, folder):
        super().__init__()
        self.settings, self.folder = settings, folder

    def start(self, name, module="streams.factory", port=None):
        self[name] = Member(self.settings, self.folder, name, module, port or free_ports(1)[0])


@pytest.fixture(scope="module")
def known(kafka):
    """What there is to know of each device, from the log."""
    fresh(kafka, OURS, keep_readings=False)
    assert simulate(kafka, "--devices", DEVICES, "--count", 50_000, "--wear", 1, 10).wait(timeout=PATIENCE) == 0
    writers = {Registry(kafka.registry, kafka.data / "test-schemas").register(READINGS): READINGS.codec}
    found = {}
    with closing(Topics(kafka)) as topics:
        for partition, batch in topics.read(READINGS.topic).items():
            watch = Watch(FACTORY, kafka.tenant)
            watch.observe(batch, writers, {UNREGISTERED})
            watch.settle()
            found |= {device: view(watch, device) | {"partition": partition} for device in watch.snapshot.trends["device_id"].unique()}
    assert len(found) == DEVICES
    assert any(device["alerts"] for device in found.values())
    return found


@pytest.fixture(scope="module")
def group(kafka, known, tmp_path_factory):
    """Two members that have read the log and have two partitions each."""
    group = Group(kafka, tmp_path_factory.mktemp("group"))
    group.start("one")
    group.start("two", PATIENT)
    with closing(Topics(kafka)) as topics:
        topics.wait_until_read()
    yield group
    for member in group.values():
        member.client.close()
        member.kill()


def test_any_worker_answers_for_every_device(group, known):
    for member in group.values():
        member.wait_until_it_knows(known)
        assert {device: member.get(f"/api/devices/{device}").json() for device in known} == known
    assert [len(member.partitions()) for member in group.values()] == [2, 2]


def test_any_worker_lists_all_devices_in_pages(group, known):
    for member in group.values():
        member.wait_until_it_knows(known)
        listed, after = [], ""
        while after is not None:
            page = member.get("/api/devices", limit=7, after=after).json()
            listed += page["devices"]
            after = page["next"]
        assert [row["device"] for row in listed] == sorted(known)
        assert {row["device"]: row["alerts"] for row in listed} == {name: len(device["alerts"]) for name, device in known.items()}
        assert {row["sensors"] for row in listed} == {6}
        some = member.get("/api/devices", prefix="plant-1.").json()
        assert [row["device"] for row in some["devices"]] == [name for name in sorted(known) if name.startswith("plant-1.")]


def test_a_device_nobody_has_heard_of_is_not_found_by_any_worker(group, known):
    for member in group.values():
        member.wait_until_it_knows(known)
        for name in ("nobody", "../metrics", "a b/c?d#é%2F", "x" * 200):
            answer = member.get(f"/api/devices/{quote(name, safe='')}")
            assert answer.status_code == 404, (name, answer.text)
            assert repr(name) in answer.json()["error"]


def test_a_wrong_question_says_what_is_wrong(group):
    for page, field in {"/api/devices?limit=0": "limit", "/api/devices?of=x": "of", f"/api/devices/{'x' * 201}": "device"}.items():
        answer = group["one"].get(page)
        assert answer.status_code == 400
        assert [problem["field"] for problem in answer.json()["problems"]] == [field]


def test_a_worker_tells_what_it_can_be_asked(group):
    for member in group.values():
        assert member.get("/openapi.json").json()["paths"].keys() == {"/api/devices", "/api/devices/{device}"}
        page = member.get("/api")
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert '<a href="/api/devices">' in page.text


def test_who_does_not_know_the_token_is_told_nothing(group, known):
    for member in group.values():
        pages = ["/api/devices", "/openapi.json", *(f"/api/devices/{device}" for device in list(known)[:8])]
        assert {http.get(member.client.base_url.join(page)).status_code for page in pages} == {401}


def test_a_static_member_that_comes_back_where_it_was_is_asked_there_without_a_rebalance(group, known):
    group["one"].wait_until_it_knows(known)
    opened = group["one"].log.read_text().count("lane_opened")
    group["two"].kill()
    group.start("two", PATIENT, group["two"].port)
    group["two"].wait_for("Successfully synced group")
    group["one"].wait_until_it_knows(known)
    assert group["one"].log.read_text().count("lane_opened") == opened


def test_a_static_member_that_comes_back_elsewhere_is_asked_there(group, known):
    group["one"].wait_until_it_knows(known)
    group["two"].kill()
    group.start("two")
    for member in group.values():
        member.wait_until_it_knows(known)
    assert [len(member.partitions()) for member in group.values()] == [2, 2]


def test_when_a_worker_is_killed_the_other_soon_answers_for_all(group, known):
    group["one"].wait_until_it_knows(known)
    group["two"].kill()
    group["one"].wait_until_it_knows(known)
    assert {device: group["one"].get(f"/api/devices/{device}").json() for device in known} == known
    assert group["one"].partitions() == {partition_of(READINGS, device) for device in known}
