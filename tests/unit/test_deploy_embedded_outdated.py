import pytest

from deploy.embedded.outdated import SILENT, Part, archives, exit_code, images, packages

REGISTRY = {
    "org.one:server": ["1.0.0", "1.1.0", "1.2.0", "2.0.0-alpha1", "2.0.0-rc1"],
    "org.one:plugin": ["1.0.0", "1.1.0"],
    "org.two:app": ["2.6.9.Final", "2.6.13.Final", "3.0.9", "3.0.10", "3.1.0-SNAPSHOT", "3.1.0.M2"],
    "pinned": ["0.1", "0.14.2", "0.15.0", "1.0rc1"],
    "dated": ["20260101", "1769699998!10.1.0", "0.0.20", "0.0.21"],
}


def ask(name):
    return REGISTRY.get(name, [])


@pytest.mark.parametrize(
    ("roots", "newest", "behind"),
    [
        (["org.one:server:1.2.0"], "1.2.0", False),
        (["org.one:server:1.1.0"], "1.2.0", True),
        (["org.one:server:1.1.0", "org.one:plugin:1.1.0"], "1.1.0", False),
        (["org.one:server:1.0.0", "org.one:plugin:1.0.0"], "1.1.0", True),
        (["org.two:app:2.6.9.Final:tar.gz:all"], "3.0.10", True),
        (["org.two:app:3.0.9:tar.gz:all"], "3.0.10", True),
        (["org.two:app:3.1.0.M2"], "3.1.0.M2", False),
    ],
    ids=["newest", "older", "newest that all parts have", "older than that", "another line", "ten is after nine", "ours is a milestone"],
)
def test_an_archive_is_behind_the_newest_release_that_is_whole(roots, newest, behind):
    (part,) = archives(roots, ask)
    assert (part.newest, part.behind) == (newest, behind)


@pytest.mark.parametrize(
    ("requirement", "installed", "newest", "behind"),
    [
        ("pinned==0.14.*", "0.14.2", "0.15.0", True),
        ("pinned>=0.14,<0.16", "0.14.2", "0.15.0", False),
        ("pinned<0.15", "0.14.2", "0.15.0", True),
        ("pinned==0.15.0", "0.15.0", "0.15.0", False),
        ("dated==0.0.21", "0.0.21", "0.0.21", False),
    ],
    ids=["held below", "may be had", "an end", "newest", "another way to count"],
)
def test_a_package_is_behind_if_its_requirement_keeps_the_newest_release_away(requirement, installed, newest, behind):
    (part,) = packages([requirement], lambda _: installed, ask)
    assert (part.ours, part.newest, part.behind) == (installed, newest, behind)


def test_a_package_whose_requirement_has_no_end_is_none_of_the_parts():
    assert packages(["free>=1", "bare"], lambda _: "1", ask) == []


def test_a_registry_that_does_not_answer_is_told_and_takes_no_part_for_the_newest():
    parts = [*archives(["org.none:a:1.0", "org.one:server:1.2.0"], ask), *packages(["none==1"], lambda _: "1", ask)]
    assert [part.name for part in parts if not part.known] == ["org.none:a", "none==1"]
    assert {part.newest for part in parts if not part.known} == {SILENT}
    assert exit_code(parts) == 2


def test_a_server_of_which_one_part_is_not_known_is_not_known():
    (part,) = archives(["org.one:server:1.0.0", "org.one:other:1.0.0"], ask)
    assert not part.known


def compose(kafka, registry):
    return f"services: {{kafka: {{image: 'a/kafka:{kafka}'}}, registry: {{image: 'host:5000/b/registry:{registry}'}}}}"


@pytest.mark.parametrize(
    ("tags", "behind"),
    [(("4.4.0", "3.3.3"), [False, True]), (("4.3.0", "3.3.3"), [True, True]), (("4.4.0", "3.3.2"), [False, True])],
    ids=["as the archives", "older than its archive", "older than an archive that is behind"],
)
def test_an_image_is_behind_with_its_archive_or_behind_it(tags, behind):
    parts = [
        Part("org.apache.kafka:kafka_2.13", "4.4.0", "4.4.0"),
        Part("io.apicurio:apicurio-registry-app", "3.3.3", "3.4.0", behind=True),
    ]
    found = images(compose(*tags), parts)
    assert [(part.ours, part.behind) for part in found] == list(zip(tags, behind, strict=True))


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([Part("a", "1", "1")], 0),
        ([Part("a", "1", "1"), Part("b", "1", "2", behind=True)], 1),
        ([Part("a", "1", SILENT), Part("b", "1", "2", behind=True)], 1),
        ([Part("a", "1", "1"), Part("b", "1", SILENT)], 2),
        ([], 0),
    ],
)
def test_the_exit_code_is_0_only_if_nothing_is_behind_and_all_is_known(parts, code):
    assert exit_code(parts) == code
