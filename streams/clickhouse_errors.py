"""What ClickHouse may answer instead, apart from its client: workers that only ask others about it need none."""


class CannotOpen(Exception):
    """The embedded engine cannot work on its folder; the message says what to do."""


class ClickHouseAway(Exception):
    """ClickHouse did not take an insert or answer a query, for no fault of the rows: try again."""


class TooMuch(ClickHouseAway):
    """A question takes more time or memory than it is given: ask for less."""


class RowsRefused(Exception):
    """ClickHouse refuses an insert for what some of its rows hold; none of them is stored."""
