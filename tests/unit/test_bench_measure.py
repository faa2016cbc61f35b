import pytest

from bench.measure import BenchError, Sample, summary


def test_rate_runs_from_the_first_commit_seen_to_the_last() -> None:
    seen = [(0.1, 0, 5.0), (4.0, 1000, 6.0), (4.1, 1000, 6.1), (5.0, 3000, 8.0), (5.1, 3000, 9.0)]

    run = summary("job", 10, [Sample(seconds, records, cpu, 2**20) for seconds, records, cpu in seen])

    assert (run.records, run.seconds, run.rate) == (2000, 1.0, 2000.0)
    assert run.cpu_s_per_million == pytest.approx(1000)
    assert (run.startup_s, run.rate_with_startup) == (4.0, 600.0)


def test_peak_memory_is_that_of_all_samples() -> None:
    samples = [Sample(0, 0, 0, 0), Sample(1, 1, 0, 7 * 2**20), Sample(2, 2, 0, 5 * 2**20)]

    assert summary("job", 10, samples).peak_rss_mb == 7


def test_one_commit_is_not_enough_for_a_rate() -> None:
    with pytest.raises(BenchError, match="1 commits seen"):
        summary("job", 10, [Sample(0, 0, 0, 0), Sample(1, 100, 1, 1)])
