"""A row of an operator's file, and what is wrong with one."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Unfit(Exception):
    """What is wrong with a field of a row, `offset` characters from its beginning."""

    def __init__(self, field: str, problem: str, offset: int = 0) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.offset = field, offset


_NO_NUMBERS: Final[Mapping[type, str]] = {
    bool: "on, off, yes, no, true and false are none",
    str: "what is quoted is a text",
}


class RowModel(BaseModel):
    """A row as an operator writes it: with no other fields than it has, and no text or `yes` where a number is to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _is_no_slip(cls, said: object) -> object:
        for name, value in said.items() if isinstance(said, dict) else ():
            known = cls.model_fields.get(name)
            if known is None:
                near = get_close_matches(str(name), cls.model_fields, 1)
                told = f"did you mean {near[0]}?" if near else f"there are {', '.join(cls.model_fields)}"
                raise Unfit(str(name), f"is no field of a row; {told}")
            kinds = {known.annotation, *get_args(known.annotation)}
            if kinds & {int, float} and not kinds & {str, type(value)} and (why := _NO_NUMBERS.get(type(value))):
                raise Unfit(name, f"a number is needed; {why}")
        return said
