import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.filters import Filters

WISHES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x/#", "y/#", "z/#"]), min_size=1)


@settings(max_examples=20)  # each start is synced
@given(st.lists(WISHES, min_size=1, max_size=6))
def test_what_any_earlier_start_had_and_this_one_has_not_is_told_until_it_is_forgotten(tmp_path_factory, starts):
    file = tmp_path_factory.mktemp("filters") / "spool" / "filters.json"
    had = set()
    for wanted in starts:
        found = Filters(file).earlier(wanted)
        assert {(name, each) for name, filters in found.items() for each in filters} == had - wanted.items()
        had |= wanted.items()
    filters = Filters(file)
    filters.forget("ab")
    left = {name: sorted(each) for name, each in orjson.loads(file.read_bytes()).items()}
    assert left == ({"c": sorted(topics for name, topics in had if name == "c")} if any(name == "c" for name, _ in had) else {})


def test_where_the_disk_takes_nothing_the_gateway_starts_all_the_same(tmp_path):
    (tmp_path / "spool").write_text("no folder")
    assert Filters(tmp_path / "spool" / "filters.json").earlier({"a": "x/#"}) == {}
