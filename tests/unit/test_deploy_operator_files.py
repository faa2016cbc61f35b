from contextlib import suppress

import pytest
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from agents.factory.domain import FACTORY
from agents.gateway.mapping import Row as Mapping
from agents.gateway.registration import from_csv
from agents.rowfile import Refused, parse_rows
from agents.rulebook import parse
from deploy import device_commands, groups_commands, map_commands, rules_commands, sensors_commands
from deploy.operator_files import text_of

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
