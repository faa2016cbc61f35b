import pytest
from typer.testing import CliRunner

from deploy.sensors_commands import app

FILE = """domain: factory
sensors:
  - name: flow
    unit: l/min
    minimum: 0
    maximum: 400
    critical: 350
    fast: 80
"""


@pytest.mark.parametrize(
    ("was", "now", "place", "problem"),
    [
        ("critical: 350", "critical: 450", "3:5", "critical 450 is not above minimum 0 and up to maximum 400"),
        ("maximum: 400", "maximum: 40000", "6:14", "less than or equal to 8192"),
        ("fast: 80", "fast: quick", "8:11", "fast"),
        ("fast: 80", "fast: yes", "8:11", "fast: a number is needed; on, off, yes, no, true and false are none"),
        ("critical: 350", 'critical: "350"', "7:16", "critical: a number is needed; what is quoted is a text"),
        ("maximum: 400", "maximum: -400", "3:5", "maximum -400 is not above minimum 0"),
        ("minimum: 0", "minimum: no", "5:14", "minimum: a number is needed; on, off, yes, no, true and false are none"),
        ("critical: 350", "critcal: 350", "7:14", "critcal: is no field of a row; did you mean critical?"),
        ("unit: l/min", r'unit: "\ud800"', "4:12", r"'\ud800' is no character of a text: take it out"),
        ("name: flow", "name: Flow Rate", "3:11", "name"),
        ("    fast: 80\n", "", "3:5", "fast: is missing"),
        ("domain: factory", "domain: farm", "1:9", "no domain 'farm'"),
        ("sensors:", "sensor:", "1:1", "headrace sensors --help"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place_before_anything_is_asked_of_kafka(tmp_path, was, now, place, problem):
    assert was in FILE
    file = tmp_path / "sensors.yaml"
    file.write_text(FILE.replace(was, now))
    refused = CliRunner().invoke(app, ["apply", str(file)])
    assert refused.exit_code == 1
    assert f"{file}:{place}: " in refused.output
    assert problem in refused.output
