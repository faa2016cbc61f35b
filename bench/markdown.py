"""Tables and paragraphs in Markdown."""

from textwrap import fill

import polars as pl


def table(frame: pl.DataFrame) -> str:
    """A row for each of the frame's, numbers as people write them."""
    rows = [
        [f"{cell:,.1f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell for cell in row]
        for row in frame.rows()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [frame.columns, ["---"] * frame.width, *rows])


def wrapped(text: str) -> str:
    """The same with paragraphs in lines of at most 120 characters; tables, headings and pictures stay."""
    blocks = text.split("\n\n")
    return "\n\n".join(
        block if block.lstrip().startswith(("|", "#", "!")) else fill(block, 120, break_long_words=False, break_on_hyphens=False)
        for block in blocks
    )
