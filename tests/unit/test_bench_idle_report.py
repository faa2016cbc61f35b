from bench.idle_report import idle, shares

ROWS = [
    {"load": load, "came": came, "busy": 1.5, "worker": worker, "cpu": cpu, "rss_mb": 200.4}
    for load, came, cpu in (("0 + 0", 0.0, 0.5), ("450 + 150", 603.0, 20.0))
    for worker in ("factory", "city")
]


def test_each_worker_has_its_share_under_each_load_and_the_line_their_sum():
    assert [line.replace(" ", "") for line in shares(ROWS).splitlines()] == [
        "|worker|0+0|450+150|rss_mb|",
        "|---|---|---|---|",
        "|factory|0.5|20.0|200.0|",
        "|city|0.5|20.0|200.0|",
        "|all|1.0|40.0|401.0|",
    ]


def test_it_says_what_came_and_how_busy_the_machine_was():
    assert "| 450 + 150 | 603.0 | 1.5 |" in idle({"seconds": 60.0, "cores": 2, "rows": ROWS})
