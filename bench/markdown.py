"""Tables in Markdown."""

import polars as pl


def table(frame: pl.DataFrame) -> str:
    """A row for each of the frame's, numbers as people write them."""
    rows = [
        [f"{cell:,.1f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell for cell in row]
        for row in frame.rows()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [frame.columns, ["---"] * frame.width, *rows])
