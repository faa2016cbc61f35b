from contextlib import suppress

import pytest
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from agents.factory.domain import FACTORY
from agents.gateway.mapping import Row as Mapping
from agents.gateway.registration import from_csv
from agents.rowfile import MOST_CHARACTERS, MOST_REPEATED, Refused, parse_rows
from agents.rulebook import parse
from deploy import device_commands, groups_commands, map_commands, rules_commands, sensors_commands
from deploy.operator_files import MOST_BYTES, text_of

COMMANDS = {
    "rules check": (rules_commands.app, ["check"], "domain: factory\nrules: []\n# é"),
    "rules apply": (rules_commands.app, ["apply"], "domain: factory\nrules: []\n# é"),
    "sensors apply": (sensors_commands.app, ["apply"], "domain: factory\nsensors: []\n# é"),
    "map apply": (map_commands.app, ["apply"], "mappings: []\n# é"),
    "device add": (device_commands.app, ["add", "--csv"], "device_id,device_type\nlamp-1,é"),
    "groups set": (groups_commands.app, ["set", "lights", "--file"], "lamp-1 é"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "shift-jis"])
def test_a_file_that_is_no_utf8_ends_in_one_line_with_file_place_and_remedy(command, encoding, tmp_path):
    app, words, text = COMMANDS[command]
    file = tmp_path / "operators.txt"
    file.write_bytes((text.replace("é", "日本") if encoding == "shift-jis" else text).encode(encoding))
    found = CliRunner().invoke(app, [*words, str(file)])
    assert (found.exit_code, found.output.count("\n")) == (1, 1)
    assert found.output.startswith(f"{file}:")
    assert found.output.endswith("save the file as UTF-8\n")
    assert isinstance(found.exception, SystemExit)


def test_the_place_is_that_of_the_first_byte_that_is_none(tmp_path, capsys):
    file = tmp_path / "rules.yaml"
    file.write_bytes("# ä\nname: é".encode() + "ü".encode("latin-1"))
    with pytest.raises(typer.Exit):
        text_of(file)
    assert capsys.readouterr().err == f"{file}:2:8: byte 0xfc is no UTF-8: save the file as UTF-8\n"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("domain: é", encoding="utf-8-sig")
    assert text_of(file) == "domain: é"


def test_a_file_that_may_not_be_read_is_told(tmp_path, capsys):
    with pytest.raises(typer.Exit):
        text_of(tmp_path)
    assert "cannot be read" in capsys.readouterr().err


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40))
def test_any_bytes_are_a_text_or_refused(tmp_path, raw):
    file = tmp_path / "any"
    file.write_bytes(raw)
    with suppress(typer.Exit):
        assert isinstance(text_of(file), str)


WORDS = ["domain: ", "rules", ":", "\n", "- ", "{", "}", "[", "]", '"', "'", "&a ", "*a", "!!int ", "\x1b", "2026-13-45", "? ", "|", "a"]
SOUP = st.lists(st.sampled_from(WORDS))


@given(st.text(max_size=60) | SOUP.map("".join))
@example("domain: factory\nrules: &a [*a]")
@example("a: " + "[" * 2000)
@example("a: 2026-13-45")
@example("\x1b")
@example("!!int")
@example("!!timestamp x")
@example("a: \ud800")
def test_any_text_of_yaml_is_rows_or_refused_with_its_place(text):
    for read in (lambda: parse(text, {"factory": FACTORY}), lambda: parse_rows(text, "mappings", Mapping.model_validate, "map")):
        with suppress(Refused):
            read()


@given(st.text(max_size=60) | st.lists(st.sampled_from(["device_id", ",", '"', "\n", "\r", "\0", "device_type", "lamp", "é"])).map("".join))
@example('"device_id,device_type\nlamp-1,light\n')
@example("device_id,device_id,device_type\na,b,light\n")
@example("device_id,device_type,x\nlamp,light," + "y" * 200_000)
def test_any_text_of_csv_is_devices_or_misfits(text):
    _, misfits = from_csv(text, {"tenant_id": "default"})
    assert all(misfit.line >= 0 and misfit.problem for misfit in misfits)


def test_a_column_that_is_there_twice_is_told():
    assert from_csv("device_id,device_id,device_type\na,b,light\n", {})[1][0].problem.endswith("has device_id twice")


def bomb(first, each):
    """Aliases of aliases: forty lines that stand for a million million values."""
    lines = [f"a0: &a0 {first}", *(f"a{n}: &a{n} {each.format(n - 1)}" for n in range(1, 41))]
    return "\n".join(lines)


BOMBS = {
    "lists": bomb("[x, x]", "[*a{0}, *a{0}]") + "\nKEY:\n- name: *a40",
    "objects": bomb("{x: y}", "{{x: *a{0}, y: *a{0}}}") + "\nKEY: [*a40]",
    "merges": bomb("{x: y}", "{{<<: [*a{0}, *a{0}]}}") + "\nKEY: [*a40]",
    "rows": "KEY: [" + ", ".join(["&a {p: [" + "x, " * 2000 + "]}", *["*a"] * 2000]) + "]",
    "of itself": "KEY: &a [{name: *a}]",
    "keys": bomb("[x, x]", "? [*a{0}, *a{0}]\n  : y").replace(": &", ":\n  &").replace(" ? ", "\n  ? ") + "\nKEY: []",
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("command", ["rules check", "sensors apply", "map apply"])
def test_aliases_that_stand_for_billions_of_values_are_refused_in_a_line(command, kind, tmp_path):
    app, words, _ = COMMANDS[command]
    name = {"map apply": "mappings"}.get(command, command.split()[0])
    file = tmp_path / "operators.yaml"
    file.write_text(("" if command == "map apply" else "domain: factory\n") + BOMBS[kind].replace("KEY", name))
    found = CliRunner().invoke(app, [*words, str(file)])
    assert (found.exit_code, found.output.count("\n")) == (1, 1)
    assert found.output.endswith(f"aliases (*) repeat more than {MOST_REPEATED} values: write out what is meant\n")


def test_aliases_that_repeat_little_are_taken():
    text = """
mappings:
- &lamp {pattern: a/+/b, topic: iot.devices.raw, data_type: lamp}
- {<<: *lamp, pattern: c/+/d}
"""
    assert [row.data_type for row in parse_rows(text, "mappings", Mapping.model_validate, "map")] == ["lamp", "lamp"]


def test_a_file_of_thousands_of_rows_is_no_bomb():
    text = "mappings:\n" + "".join(f"- {{pattern: a/{n}/+, topic: iot.devices.raw, data_type: lamp}}\n" for n in range(2_000))
    assert len(parse_rows(text, "mappings", Mapping.model_validate, "map")) == 2_000


def test_a_file_that_is_too_large_is_told_before_it_is_read(tmp_path, capsys):
    file = tmp_path / "large"
    with file.open("wb") as sparse:
        sparse.truncate(MOST_BYTES + 1)
    with pytest.raises(typer.Exit):
        text_of(file)
    assert capsys.readouterr().err == f"{file}:1:1: more than 64 MiB: make several files of it\n"
    with pytest.raises(Refused, match="make several files of it"):
        parse_rows("#" * (MOST_CHARACTERS + 1), "mappings", Mapping.model_validate, "map")
