"""The tables of `nightdrop.toml` about those who send: each value checked by itself, with the words for what was wanted."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipelines.csvs import id_columns
from pipelines.dialects import Dialect, delimiter_named, encoding_named
from pipelines.sources import Source
from validation.entities import ENTITIES
from validation.fields import STEP

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Patterns(BaseModel):
    """The wanted form of a registration number per client type."""

    model_config = ConfigDict(extra="forbid", strict=True)

    individual: str | None = None
    company: str | None = None

    @field_validator("individual", "company")
    @classmethod
    def _means_the_same_everywhere(cls, pattern: str | None) -> str | None:
        # Whole columns are matched by Polars (Rust), single values by Python: a pattern must be one in both.
        if pattern is not None:
            _compile(pattern)
        return pattern


class DeclaredSource(BaseModel):
    """What is said of one who sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    match: Annotated[list[str], Field(min_length=1)] | str | None = None
    delimiter: str = ","
    encoding: str = "utf-8"
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    hold_above: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    registration_patterns: Patterns = Patterns()

    @field_validator("match")
    @classmethod
    def _is_a_pattern(cls, match: list[str] | str | None) -> list[str] | str | None:
        for pattern in [match] if isinstance(match, str) else match or []:
            re.compile(translate(pattern))
            if not pattern or pattern.startswith("/"):
                raise ValueError("no path in the inbox")
        return match

    @field_validator("delimiter")
    @classmethod
    def _can_be_told_apart(cls, delimiter: str) -> str:
        return delimiter_named(delimiter)

    @field_validator("encoding")
    @classmethod
    def _has_lines(cls, encoding: str) -> str:
        return encoding_named(encoding)

    @field_validator("columns")
    @classmethod
    def _names_what_there_is(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns.values():
            _is_known(name)
        twice = [name for name in columns.values() if list(columns.values()).count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is given to two columns")
        return columns

    @field_validator("constants")
    @classmethod
    def _fills_what_there_is(cls, constants: dict[str, str]) -> dict[str, str]:
        for name in constants:
            _is_known(name)
            if name in id_columns():
                raise ValueError(f"{name!r} is an id: no two records have the same")
        return constants

    def source(self, name: str) -> Source:
        """Return it as the pipeline takes it."""
        return Source(
            name,
            (self.match,) if isinstance(self.match, str) else tuple(self.match or ()),
            Dialect(self.delimiter, self.encoding, tuple(self.columns.items()), tuple(self.constants.items())),
            self.hold_above,
            self.registration_patterns.model_dump(exclude_none=True),
        )


WANTED: dict[str, str] = {
    "match": 'a pattern of paths in the inbox or a list of such, such as "*/acme/*.csv"',
    "delimiter": 'one character that is no letter, digit, blank, quote or backslash, such as ";" or a tab, "\\t"',
    "encoding": '"utf-8", or one of one byte a character such as "cp1252" or "iso-8859-15"',
    "columns": 'the file\'s names and ours, such as { "Customer No" = "client_id" }',
    "constants": 'our names and the cell that every row has, such as { step = "create" }',
    "hold_above": "a share from 0 to 1, such as 0.5",
    "registration_patterns": 'a table with `individual` and `company`, each a regular expression such as "CR-.+"',
}
"""Of a source, by key."""


def _is_known(name: str) -> None:
    spellings = {name for entity in ENTITIES.values() for name in entity.spellings}
    if name not in {"category", "kind", STEP.name, *spellings}:
        raise ValueError(f"{name!r} is no column we know")


def _compile(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    import polars as pl

    try:
        pl.select(pl.lit("").str.contains(f"^(?:{pattern})$"))
    except pl.exceptions.ComputeError:
        raise ValueError("not a regular expression for whole columns (no look-around, no back references)") from None
