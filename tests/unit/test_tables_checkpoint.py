import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables import checkpoint
from tables.checkpoint import PATIENCE, Checkpoint, Ledger, UnreadableCheckpoint

Changelog = dict[bytes, bytes]
DEVICES = [f"plant-{number}.прес-{number}" for number in range(6)]


@pytest.fixture(autouse=True, scope="module")
def _small_shards():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "ROWS_PER_SHARD", 3)
        yield


def rows(**counts: int) -> pl.DataFrame:
    return pl.DataFrame({"device_id": list(counts), "count": list(counts.values())}, schema={"device_id": pl.String, "count": pl.Int64})


def records(staged: Checkpoint) -> list[tuple[bytes, bytes | None]]:
    return [*staged.buckets.items(), staged.manifest, *((key, None) for key in staged.obsolete)]


def write(changelog: Changelog, delivered: list[tuple[bytes, bytes | None]]) -> None:
    for key, value in delivered:
        if value is None:
            changelog.pop(key, None)
        else:
            changelog[key] = value


def families(changelog: Changelog) -> dict[str, list[tuple[object, ...]]]:
    recovered = Ledger().recover(changelog)
    return {family: sorted(frame.rows()) for family, frame in recovered.families.items()}


def state(fence: int) -> dict[str, pl.DataFrame]:
    """State of a made-up log at an offset: panes that fill up, stay and expire, and a family that returns to earlier contents."""
    panes = {
        f"pane-{pane}": rows(**{device: min(fence - 10 * pane, 10) + at for at, device in enumerate(DEVICES)})
        for pane in range(max(fence // 10 - 2, 0), fence // 10 + 1)
    }
    episodes = rows(**dict.fromkeys(DEVICES[: (fence // 4) % 3 * 2], 1), **dict.fromkeys(DEVICES[4:], (fence // 6) % 2))
    return {**panes, "episodes": episodes}


def test_what_was_staged_is_recovered_with_its_facts():
    changelog: Changelog = {}
    write(changelog, records(Ledger().stage(7, {"stream_time": 5}, {"a": rows(x=1, y=2), "b": rows(x=3)}, [])))
    recovered = Ledger().recover(changelog)
    assert (recovered.fence, recovered.facts) == (7, {"stream_time": 5})
    assert families(changelog) == {"a": [("x", 1), ("y", 2)], "b": [("x", 3)]}


def test_an_empty_changelog_holds_no_state():
    assert Ledger().recover({}) is None


def test_buckets_without_a_manifest_are_no_state():
    assert Ledger().recover(dict(Ledger().stage(7, {}, {"a": rows(x=1)}, []).buckets)) is None


def test_a_family_that_did_not_change_is_written_once():
    ledger = Ledger()
    ledger.stage(7, {}, {"a": rows(x=1)}, [])
    staged = ledger.stage(8, {}, {"b": rows(x=1)}, [])
    assert [key.split(b"/")[0] for key in staged.buckets] == [b"b"]


def test_a_shard_whose_bytes_are_equal_is_written_once():
    ledger = Ledger()
    before = dict.fromkeys(DEVICES, 1)
    assert len(ledger.stage(7, {}, {"a": rows(**before)}, []).buckets) > 1
    assert len(ledger.stage(8, {}, {"a": rows(**before | {DEVICES[0]: 2})}, []).buckets) == 1


def test_a_family_dropped_or_empty_is_gone_and_its_keys_are_deleted():
    ledger, changelog = Ledger(), {}
    write(changelog, records(ledger.stage(7, {}, {"a": rows(x=1), "b": rows(x=1), "c": rows(x=1)}, [])))
    write(changelog, records(ledger.stage(8, {}, {"b": rows()}, ["a"])))
    assert families(changelog) == {"c": [("x", 1)]}
    assert len(changelog) == 2


def test_a_device_stays_in_its_shard_whatever_its_name():
    names = ["", "\x00", "плант", "日本", "🏭" * 40, "a\x1fb", "{device}", "e\u0301", "é"]
    changelog: Changelog = {}
    write(changelog, records(Ledger().stage(7, {}, {"a": rows(**dict.fromkeys(names, 1))}, [])))
    assert families(changelog) == {"a": sorted((name, 1) for name in names)}


def test_shards_grow_with_the_rows_and_every_row_is_in_one():
    devices = [f"d-{number}" for number in range(200)]
    staged = Ledger().stage(7, {}, {"a": rows(**dict.fromkeys(devices, 1))}, [])
    assert max(pl.read_ipc(value).height for value in staged.buckets.values()) < 3 * 3
    assert families(dict([*staged.buckets.items(), staged.manifest])) == {"a": sorted((device, 1) for device in devices)}


def test_recovery_takes_the_highest_fence_whatever_was_written_last():
    changelog: Changelog = {}
    write(changelog, records(Ledger().stage(9, {}, {"a": rows(x=9)}, [])))
    write(changelog, records(Ledger().stage(10, {}, {"a": rows(x=10)}, [])))
    write(changelog, records(Ledger().stage(8, {}, {"a": rows(x=8)}, [])))
    assert families(changelog) == {"a": [("x", 10)]}


def test_recovery_passes_over_a_manifest_that_lacks_a_bucket():
    changelog: Changelog = {}
    write(changelog, records(Ledger().stage(9, {}, {"a": rows(x=9)}, [])))
    broken = Ledger().stage(10, {}, {"a": rows(x=10)}, [])
    write(changelog, [broken.manifest])
    assert families(changelog) == {"a": [("x", 9)]}


def test_a_changelog_of_which_no_manifest_is_complete_is_unreadable_and_the_error_says_what_to_do():
    with pytest.raises(UnreadableCheckpoint, match=r"a/0@10.* give the state up by `headrace state forget`"):
        Ledger().recover(dict([Ledger().stage(10, {}, {"a": rows(x=10)}, []).manifest]))


def test_a_changelog_of_another_version_is_unreadable(monkeypatch):
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    staged = Ledger().stage(10, {}, {"a": rows(x=10)}, [])
    monkeypatch.undo()
    with pytest.raises(UnreadableCheckpoint, match="version 99, this is version 1: run the version that wrote it"):
        Ledger().recover(dict([*staged.buckets.items(), staged.manifest]))


def test_the_first_checkpoint_after_recovery_names_no_key_of_another_writer():
    changelog: Changelog = {}
    write(changelog, records(Ledger().stage(9, {}, state(9), [])))
    successor = Ledger()
    successor.recover(changelog)
    staged = successor.stage(9, {}, {}, [])
    assert families(dict([*staged.buckets.items(), staged.manifest])) == families(changelog)
    assert not set(staged.buckets) & set(changelog)


def test_other_writers_keys_are_deleted_when_patience_ends_and_not_before():
    changelog: Changelog = {}
    write(changelog, records(Ledger().stage(9, {}, state(9), [])))
    foreign, successor = set(changelog), Ledger()
    successor.recover(changelog)
    for fence in range(10, 10 + PATIENCE - 1):
        write(changelog, records(successor.stage(fence, {}, {"a": rows(x=fence)}, [])))
        assert foreign <= set(changelog)
    write(changelog, records(successor.stage(100, {}, {}, [])))
    assert not foreign & set(changelog)
    assert set(changelog) == {key.encode() for key, _ in successor.current.values()} | {successor.manifest.encode()}


class Writer:
    """An owner of the partition, or one that was and does not know: what it staged is delivered in order, later or never."""

    def __init__(self, changelog: Changelog, patience: int) -> None:
        self.ledger = Ledger(patience=patience)
        recovered = self.ledger.recover(changelog)
        self.fence = recovered.fence if recovered else 0
        self.families = set(recovered.families) if recovered else set()
        self.queue: list[tuple[bytes, bytes | None]] = []

    def stage(self, fence: int, *, rewritten: bool) -> None:
        before, after = state(self.fence), state(fence)
        changed = {
            family: frame.reverse() if rewritten else frame  # the same rows may be packed otherwise
            for family, frame in after.items()
            if rewritten or family not in self.families or not frame.equals(before[family])
        }
        self.queue += records(self.ledger.stage(fence, {"fence": fence}, changed, self.families - set(after)))
        self.fence, self.families = fence, set(after)


ALL = 1_000
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["owner", "owner", "owner", "zombie", "zombie", "succession"]),
        st.integers(0, 3),
        st.sampled_from([0, 1, 2, 5, 12]),
        st.sampled_from([0, 1, 2, 4, 8, ALL, ALL, ALL, ALL]),
        st.booleans(),
    ),
    min_size=10,
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(STEPS, st.integers(1, 3))
def test_whatever_zombies_write_recovery_gives_the_true_state_at_no_lower_a_fence_than_the_owner_committed(steps, patience):
    changelog: Changelog = {}
    writers, committed = [Writer(changelog, patience)], 0
    for role, which, advance, delivered, rewritten in steps:
        if role == "succession":
            writers.append(Writer(changelog, patience))
        writer = writers[-1 - (which % len(writers) if role == "zombie" else 0)]
        if not writer.queue:
            writer.stage(writer.fence + advance, rewritten=rewritten)
        write(changelog, writer.queue[:delivered])
        if any(key.startswith(b"manifest") and value for key, value in writer.queue[:delivered]) and writer is writers[-1]:
            committed = writer.fence
        del writer.queue[:delivered]
        if recovered := Ledger().recover(changelog):
            assert recovered.fence >= committed
            assert recovered.facts == {"fence": recovered.fence}
            found = {family: sorted(frame.rows()) for family, frame in recovered.families.items()}
            assert found == {family: sorted(frame.rows()) for family, frame in state(recovered.fence).items() if frame.height}
        assert recovered or not committed
