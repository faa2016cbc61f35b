"""Files that operators hand to a command: text in UTF-8, or one line that says where and what to do."""

import codecs
from pathlib import Path
from typing import Final

import typer

_MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""What files of other encodings begin with."""

MOST_BYTES: Final = 64 << 20
"""Of a file: half a million devices take half of it."""


def text_of(file: Path) -> str:
    """What a file says, with or without a byte order mark. Exit status 1 where it cannot be read, or is no UTF-8."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(MOST_BYTES + 1)
    except OSError as problem:
        raise refusal(file, 1, 1, f"cannot be read: {problem.strerror}") from problem
    if len(raw) > MOST_BYTES:
        raise refusal(file, 1, 1, f"more than {MOST_BYTES >> 20} MiB: make several files of it")
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "")
    if encoding or b"\0" in raw:
        raise refusal(file, 1, 1, f"this is {encoding or 'no text, or UTF-16'}: save the file as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = raw.rfind(b"\n", 0, error.start) + 1
        column = len(raw[start : error.start].decode("utf-8-sig")) + 1
        told = f"byte 0x{raw[error.start]:02x} is no UTF-8: save the file as UTF-8"
        raise refusal(file, raw.count(b"\n", 0, error.start) + 1, column, told) from error


def refusal(file: Path, line: int, column: int, problem: str) -> typer.Exit:
    """Say in a line what is wrong with a file; to be raised."""
    typer.secho(f"{file}:{line}:{column}: {problem}", fg="red", err=True)
    return typer.Exit(1)
