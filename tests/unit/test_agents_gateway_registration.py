import pytest
from pydantic import ValidationError

from agents.gateway.registration import Misfit, Registration, from_csv

UNLESS_SAID = {"tenant_id": "city", "device_type": "street_light"}


def test_a_file_says_what_it_says_and_the_options_stand_for_what_it_leaves_empty():
    devices, misfits = from_csv("device_id,district,device_type,latitude,pole\nl-1,harbour,,30.5,7\nl-2,,manhole_cover,,\n", UNLESS_SAID)
    assert misfits == []
    assert [(each.key, each.device_type, each.district, each.latitude, each.metadata) for each in devices] == [
        ("city/l-1", "street_light", "harbour", 30.5, {"pole": "7"}),
        ("city/l-2", "manhole_cover", "", None, {}),
    ]


def test_every_wrong_line_is_named_with_its_number():
    text = 'device_id,latitude\n"l-1",95\nl-2,1\nl-2,1\na/b,1\n,1\nl-3,1,9\n'
    _, misfits = from_csv(text, UNLESS_SAID)
    assert [(line, problem.partition(":")[0]) for line, problem in misfits] == [
        (2, "latitude"),
        (4, "device_id"),
        (5, "device_id"),
        (6, "device_id"),
        (7, "more cells than columns"),
    ]


def test_a_file_without_the_columns_it_needs_is_refused_at_its_first_line():
    assert from_csv("name,type\nl-1,x\n", {}) == ([], [Misfit(1, "the first line names the columns, and has no device_id, device_type")])
    assert from_csv("", {})[1][0].line == 1


def test_a_file_that_is_no_table_is_refused_where_it_ends_to_be():
    _, misfits = from_csv('device_id\nl-1\n"l-2\n', UNLESS_SAID)
    assert misfits[0].line == 3


@pytest.mark.parametrize("metadata", [{"m": "x" * 1_040_000}, {str(number): "x" for number in range(51)}, {"é" * 8_200: ""}])
def test_metadata_is_bounded_as_it_is_part_of_a_record_and_of_pages(metadata):
    with pytest.raises(ValidationError, match="at most 50 of 16384 are kept"):
        Registration(device_id="a", device_type="b", tenant_id="c", metadata=metadata)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("device_id;device_type", "needs commas between them, not ';'"),
        ("device_id\tdevice_type", r"needs commas between them, not '\t'"),
        ("Device_ID,device_type", "has 'Device_ID'; did you mean device_id?"),
        ("device_id,device_type,lattitude", "has 'lattitude'; did you mean latitude?"),
        ("device_id,device_type,Longitude", "has 'Longitude'; did you mean longitude?"),
        ("device_id,device_type,retired", "cannot have retired, which is not said in a file"),
        ("device_id,device_type,registered_at", "cannot have registered_at, which is not said in a file"),
        ("device_id,device_type,", "has no name for column 3"),
    ],
)
def test_a_column_that_would_be_metadata_by_a_slip_is_refused(columns, said):
    assert from_csv(f"{columns}\nl-1,street_light,5\n", {}) == ([], [Misfit(1, f"the first line names the columns, and {said}")])


@pytest.mark.parametrize("name", ["pole", "firmware_version", "district_name", "lat", "type"])
def test_a_column_of_another_name_is_metadata(name):
    (device,), misfits = from_csv(f"device_id,device_type,{name}\nl-1,street_light,5\n", {"tenant_id": "default"})
    assert (device.metadata, misfits) == ({name: "5"}, [])
