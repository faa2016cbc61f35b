"""Pieces of a Markdown page."""

import inspect
import re
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import Final

WIDTH: Final = 120
_NOTE: Final = "<!-- Written by `make reference` from {}. Change that, not this page. -->"


def page(title: str, source: str, introduction: str, parts: Iterable[str]) -> str:
    """A page that names the module it is written from."""
    return "\n\n".join([f"# {title}", _NOTE.format(f"`{source}`"), paragraph(introduction), *parts]) + "\n"


def paragraph(text: str, indent: str = "") -> str:
    """Text without markup of its own, wrapped."""
    return fill(escaped(" ".join(text.split())), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def prose(text: str) -> str:
    """A docstring's paragraphs, wrapped; one that has indented or set lines stays as it is, in a block."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text.replace("\b", "")))
    return "\n\n".join(paragraph(block) if _flows(block) else f"```text\n{block}\n```" for block in blocks if block.strip())


def _flows(block: str) -> bool:
    return not re.search(r"^\s|\S {2,}\S", block, re.MULTILINE)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a row is one line, however long."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text in which no character is markup of Markdown or HTML."""
    return re.sub(r"([\\`*\[\]])", r"\\\1", text).replace("<", "&lt;")


def code(text: str) -> str:
    """Text as code; nothing stays nothing."""
    return f"`{text}`" if text else ""
