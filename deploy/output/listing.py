"""Rows as text: nothing is cut, and what devices and people wrote cannot move the cursor or colour the screen."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.cells import cell_len

from streams.worker.addresses import without_passwords

Json = Annotated[bool, typer.Option("--json", help="For programs: everything that is known, as JSON.")]
GAP = "  "
INDENT = "    "


def plain(text: object) -> str:
    """The text with what does not print written out, as Python does: an escape character cannot colour the screen."""
    return "".join(letter if _prints(letter) else letter.encode("unicode_escape").decode() for letter in str(text))


def fail(problem: object) -> None:
    """Tell in red on standard error what went wrong, without the passwords of addresses in it."""
    typer.secho(without_passwords(str(problem)), fg="red", err=True)


def show(heads: Sequence[str], rows: Sequence[Sequence[object]], found: object, *, as_json: bool) -> None:
    """Print the rows, or `found` as JSON; on a terminal fitted to its width."""
    if as_json:
        show_json(found)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in listing(heads, rows, width):
            typer.echo(line)


def show_json(found: object) -> None:
    """Print a document, with what does not print escaped."""
    text = json.dumps(found, indent=2, ensure_ascii=False, default=str)
    typer.echo("".join(letter if _prints(letter) or letter == "\n" else json.dumps(letter)[1:-1] for letter in text))


def show_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing's facts, a line each, or as JSON."""
    if as_json:
        show_json(facts)
    else:
        show(("", ""), [(name, said(fact)) for name, fact in facts.items()], facts, as_json=False)


def said(fact: object) -> str:
    """A fact as people write it: yes and no, members as name=value, nothing for what is not known."""
    match fact:
        case None:
            return ""
        case bool():
            return "yes" if fact else "no"
        case Mapping():
            return ", ".join(f"{name}={said(value)}" for name, value in fact.items())
        case list() | tuple():
            return ", ".join(map(said, fact))
        case _:
            return str(fact)


def listing(heads: Sequence[str], rows: Sequence[Sequence[object]], width: int | None) -> list[str]:
    """Lines of a table without empty columns; where it is wider than `width`, each row's last cell has a line of its own below it."""
    cells = [[plain(cell) for cell in row] for row in rows]
    kept = [column for column in range(len(heads)) if not cells or any(row[column] for row in cells)]
    table = [[heads[column] for column in kept], *([row[column] for column in kept] for row in cells)]
    if not any(heads):
        table = table[1:]
    lines = _aligned(table)
    if width is None or len(kept) < 2 or max(map(cell_len, lines), default=0) <= width:
        return lines
    *most, _ = zip(*table, strict=True)
    folded = _aligned(list(zip(*most, strict=True)))
    last = [row[-1] for row in table]
    return [line for pair in zip(folded, (INDENT + text for text in last), strict=True) for line in pair if line.strip()]


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    return [GAP.join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _prints(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"
