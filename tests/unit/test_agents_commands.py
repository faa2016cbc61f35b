import polars as pl
import pytest

from agents.alerts import Episodes, Origin, evaluated, judge
from agents.commands import NONE, called_for, command_id
from agents.factory.domain import RULES
from agents.rules import Rule, Severity, evaluate
from schemas.catalog import COMMANDS
from schemas.wire import decode, encode

START = 1_760_000_000_000
LIFETIME_MS = 65_000
STOP = Rule(
    name="stop",
    severity=Severity.CRITICAL,
    raises=pl.col("value") > 10,
    clears=pl.col("value") < 8,
    threshold=pl.lit(10.0),
    cooldown_ms=300_000,
    message="",
    command="stop",
)
WATCH = Rule(
    name="watch",
    severity=Severity.INFO,
    raises=pl.col("value") > 10,
    clears=pl.col("value") < 8,
    threshold=pl.lit(10.0),
    cooldown_ms=300_000,
    message="",
)
RULED = [STOP, WATCH]


def told(*values: float, device: str = "press", plant: str | None = "plant-1", behind: int = 0, rules: list[Rule] = RULED) -> pl.DataFrame:
    """The commands that readings of a device call for, a second apart, on top of no episodes."""
    at = [START + 1000 * second for second in range(len(values))]
    readings = pl.DataFrame({"device_id": device, "subject": "heat", "value": values, "timestamp": at})
    readings = readings.with_columns(watermark=pl.col("timestamp") + behind)
    if plant is not None:
        readings = readings.with_columns(plant=pl.lit(plant))
    readings = evaluated(rules, readings, [Episodes()])
    return called_for(rules, judge(rules, Episodes(), readings, Origin("acme", "factory")), readings, LIFETIME_MS)


def test_an_episode_raised_or_reopened_by_a_rule_with_a_command_commands_the_machine_by_its_plant():
    first, second = told(1, 11, 12, 7, 13).to_dicts()
    assert (first["plant"], first["device_id"], first["command"], first["rule"]) == ("plant-1", "press", "stop", "stop")
    assert (first["tenant"], first["domain"]) == ("acme", "factory")
    assert [c["issued_at"] - START for c in (first, second)] == [1000, 4000]
    assert all(c["expires_at"] - c["issued_at"] == LIFETIME_MS for c in (first, second))
    assert first["alert_id"] == second["alert_id"]
    assert first["command_id"] != second["command_id"]
    assert first["command_id"] == command_id(first["alert_id"], START + 1000, "stop")


def test_neither_the_end_of_an_episode_nor_a_historic_alert_nor_a_rule_without_a_command_commands_anything():
    assert told(1, 7, 2).is_empty()
    assert told(11, behind=1).is_empty()
    assert told(11, rules=[WATCH]).equals(NONE)


@pytest.mark.parametrize("plant", [None, ""])
def test_where_no_plant_is_known_the_command_says_so(plant):
    assert told(11, plant=plant)["plant"].to_list() == [""]


def test_commands_travel_as_their_schema_says():
    commands = told(11, 7, 12)
    back = decode(encode(COMMANDS.codec, 7, commands), COMMANDS.codec, {7: COMMANDS.codec}).frame
    assert back.drop("row").equals(commands)


def test_the_factory_stops_a_machine_on_critical_vibration_and_on_nothing_else():
    (stop,) = (rule for rule in RULES if rule.command)
    sensors = ["vibration", "vibration", "temperature"]
    frame = pl.DataFrame({"sensor_type": sensors, "value": [41.0, 40.0, 151.0], "critical": [40, 40, 150]})
    assert stop.command == "stop"
    assert evaluate([stop], frame)[f"{stop.name}/raises"].to_list() == [True, False, False]
