"""Files of operators: YAML with a domain and a list of rows, and the place of whatever is wrong in them."""

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar
from unicodedata import category

import yaml
from pydantic import ValidationError
from yaml.reader import ReaderError

from agents.reading import Domain
from agents.row_model import Unfit
from schemas.quoting import quoted

MOST_CHARACTERS: Final = 4_000_000
"""Of a file: PyYAML takes ten seconds for a million."""
MOST_REPEATED: Final = 10_000
"""Values that a file's aliases may repeat: a few lines of aliases of aliases stand for billions."""


class Named(Protocol):
    """A row; its name is there once in a file."""

    @property
    def name(self) -> str: ...  # noqa: D102


Row = TypeVar("Row", bound=Named)


class Refused(Exception):
    """A file with a row that cannot be: where in the text (line and column from 1) and why."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.line, self.column, self.problem = line, column, problem


@dataclass(frozen=True)
class RowFile(Generic[Row]):
    """What a file says: rows of one domain."""

    domain: str
    rows: list[Row]


def parse(text: str, name: str, domains: Mapping[str, Domain], read: Callable[[object, Domain], Row]) -> RowFile[Row]:
    """Read a file of `domain` and a list called `name`, of which `read` makes rows. Raises Refused at the first that it does not take.

    `read` raises pydantic's ValidationError, or Unfit.
    """
    found, fields = _document(text, {"domain", name}, f"a file has a domain and a list of {name}: see headrace {name} --help")
    domain = domains.get(found["domain"]) if isinstance(found["domain"], str) else None
    if domain is None:
        raise Refused(*_place(fields["domain"]), f"no domain {found['domain']!r}: there are {', '.join(domains)}")
    return RowFile(found["domain"], _rows(found[name], fields[name], lambda value: read(value, domain)))


def parse_rows(text: str, name: str, read: Callable[[object], Row], command: str) -> list[Row]:
    """The same of a file that has but a list called `name`; `command`: whose help tells of it."""
    found, fields = _document(text, {name}, f"a file has a list of {name}: see headrace {command} --help")
    return _rows(found[name], fields[name], read)


def _document(text: str, names: Set[str], problem: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file says, all but one of its members a list, and the nodes of those. Raises Refused."""
    if len(text) > MOST_CHARACTERS:
        raise Refused(1, 1, f"{len(text)} characters, at most {MOST_CHARACTERS} are read: make several files of it")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_many(node)
        found = yaml.load(text, _Loader)
        _refuse_misread(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise Refused(mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, str(error.problem)) from error
    except ReaderError as error:
        before = text[: error.position]
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise Refused(*place, f"{quoted(text[error.position])} is no character of a text file: take it out") from error
    except RecursionError as error:
        raise Refused(1, 1, "lists and objects are nested too deep") from error
    if not isinstance(found, dict) or found.keys() != names or not all(isinstance(found[name], list) for name in names - {"domain"}):
        raise Refused(1, 1, problem)
    return found, _children(node)


class _Loader(yaml.SafeLoader):
    """PyYAML's, which also says where a date or a number is that is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401  # PyYAML's own
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            kind = _KINDS.get(node.tag, "a value")
            raise Refused(*_place(node), f"{quoted(node.value)} cannot be read as {kind}: quote what is text") from error


def _refuse_many(node: yaml.Node | None) -> None:
    """Raise Refused where aliases stand for too many values, or a value for a part of itself. PyYAML has no such bound."""
    met: set[yaml.Node] = set()
    repeated = 0
    around = [node] if node else []
    while around:
        each = around.pop()
        children = [part for pair in each.value for part in pair] if isinstance(each, yaml.MappingNode) else each.value
        repeated += len(children) if each in met else 0
        if repeated > MOST_REPEATED:
            raise Refused(*_place(each), f"aliases (*) repeat more than {MOST_REPEATED} values: write out what is meant")
        met.add(each)
        around += children if isinstance(each, yaml.CollectionNode) else ()


def _refuse_misread(node: yaml.Node | None) -> None:
    """Raise Refused for what YAML reads in silence as something else: the last of two members of one name, 1:30 as 90, 010 as 8.

    And for what its escapes put into a text, such as a NUL or half a character, that no file could hold.
    """
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise Refused(*_place(key), f"{key.value} is there twice")
            seen.add(key.value)
            _refuse_misread(key)
            _refuse_misread(value)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _refuse_misread(each)
    elif isinstance(node, yaml.ScalarNode):
        if node.tag in _NUMBERS and _NOT_DECIMAL.fullmatch(node.value):
            raise Refused(*_place(node), f"{node.value} is another number to YAML: write a decimal one, or quote what is text")
        if odd := next((sign for sign in node.value if category(sign) in ("Cc", "Cs") and sign not in "\n\t"), ""):
            raise Refused(*_place(node), f"{quoted(odd)} is no character of a text: take it out")


def _rows(values: Sequence[object], node: yaml.Node, read: Callable[[object], Row]) -> list[Row]:
    if not values:
        raise Refused(*_place(node), "the list is empty: nothing would change")
    rows: dict[str, Row] = {}
    for value, at in zip(values, node.value, strict=True):
        row = _row(value, at, read)
        if row.name in rows:
            raise Refused(*_place(at), f"{row.name} is there twice")
        rows[row.name] = row
    return [*rows.values()]


def _row(value: object, at: yaml.Node, read: Callable[[object], Row]) -> Row:
    places = {name: _place(node) for name, node in _children(at).items()}
    try:
        return read(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        node = _children(at).get(field)
        if first["type"] == "string_type" and isinstance(node, yaml.ScalarNode):
            problem = f'{node.value} is no text to YAML but {_KINDS.get(node.tag, "a value")}: quote it, "{node.value}"'
        else:
            problem = _WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        raise Refused(*places.get(field, _place(at)), f"{field}: {problem}".lstrip(": ")) from error
    except Unfit as unfit:
        line, column = places.get(unfit.field, _place(at))
        raise Refused(line, column + unfit.offset, str(unfit)) from unfit


def _children(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


_WORDS: Final = {
    "missing": "is missing",
    "model_type": "a row has fields with values, such as name: x",
    "string_type": "a text is needed",
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number is needed"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number is needed"),
}
"""What pydantic says in words of its own, by its type of error."""
_NUMBERS: Final = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_NOT_DECIMAL: Final = re.compile(r"[-+]?(0[0-7_]+|[\d_]+(:\d+)+(\.[\d_]*)?)")
"""Octal, and minutes or degrees with colons (YAML 1.1, types int and float)."""
_KINDS: Final = {
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a time",
}


def _place(node: yaml.Node) -> tuple[int, int]:
    quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
    return node.start_mark.line + 1, node.start_mark.column + 1 + quoted
