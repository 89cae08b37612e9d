"""The tables of `nightdrop.toml` about those who send: each value checked by itself, with the words for what was wanted."""

from __future__ import annotations

import re
from datetime import date, time
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from pipelines.calendar import Expected
from pipelines.dialects import Dialect, delimiter_named, encoding_named
from pipelines.discovery import business_date
from pipelines.home import Hooks
from pipelines.sources import Source
from pipelines.stores import RemoteInbox

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)


def no_boolean(value: object) -> object:
    """Return a value that may be a number; raise ValueError for `true`, which would count as 1."""
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


# A variable's number is a text.
Share = Annotated[float, BeforeValidator(no_boolean), Field(ge=0, le=1, allow_inf_nan=False, strict=False)]


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
            if not pattern:
                raise ValueError("an empty pattern refuses every number")
            _compile(pattern)
        return pattern


class DeclaredSource(BaseModel):
    """What is said of one who sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    match: Annotated[list[str], Field(min_length=1)] | None = None
    delimiter: str = ","
    encoding: str = "utf-8"
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    hold_above: Share | None = None
    registration_patterns: Patterns = Patterns()

    @field_validator("match", mode="before")
    @classmethod
    def _are_patterns(cls, match: object) -> object:
        match = [match] if isinstance(match, str) else match
        for pattern in match if isinstance(match, list) else []:
            if isinstance(pattern, str) and (not pattern or pattern.startswith("/")):
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
        from flows import dialect_columns  # the rules, and Polars with them: few settings ask for them

        for name in columns.values():
            dialect_columns.assert_known(name)
        twice = [name for name in columns.values() if list(columns.values()).count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is given to two columns")
        return columns

    @field_validator("constants")
    @classmethod
    def _fills_what_there_is(cls, constants: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        from flows import dialect_columns

        for name, cell in constants.items():
            dialect_columns.assert_known(name)
            dialect_columns.assert_no_id(name)
            if name in info.data.get("columns", {}).values():
                raise ValueError(f"{name!r} is a column of the file already, under `columns`")
            if not cell:
                raise ValueError(f"{name!r} has an empty cell, which says nothing")
            dialect_columns.assert_choice(name, cell)
        return constants

    def source(self, name: str) -> Source:
        """Return it as the pipeline takes it."""
        return Source(
            name,
            tuple(self.match or ()),
            Dialect(self.delimiter, self.encoding, tuple(self.columns.items()), tuple(self.constants.items())),
            self.hold_above,
            self.registration_patterns.model_dump(exclude_none=True),
        )


class DeclaredExpected(BaseModel):
    """A drop that is expected."""

    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, Field(min_length=1)]
    weekdays: Annotated[list[Weekday], Field(min_length=1)] = list(WEEKDAYS)
    by: str | time
    days_later: Annotated[int, Field(ge=0, le=7, strict=True)] = 0
    since: date | None = None
    holidays: list[date] = []

    @field_validator("by")
    @classmethod
    def _is_a_time(cls, by: str | time) -> time:
        try:
            found = time.fromisoformat(by) if isinstance(by, str) else by
        except ValueError:
            raise ValueError("no time of the day") from None
        if found.tzinfo is not None:
            raise ValueError("a time with a zone")
        return found

    @field_validator("since", "holidays", mode="before")
    @classmethod
    def _are_dates(cls, said: object) -> object:
        for day in said if isinstance(said, list) else [said]:
            if type(day) is not date and not (isinstance(day, str) and _DATE.fullmatch(day)):
                raise ValueError("no date")  # a number would count as seconds
        return said

    def expected(self) -> Expected:
        """Return it as the pipeline takes it."""
        days = frozenset(WEEKDAYS.index(day) for day in self.weekdays)
        by = self.by if isinstance(self.by, time) else time.min
        return Expected(self.source, days, by, self.days_later, self.since, frozenset(self.holidays))


def _has_no_date(name: str) -> str:
    """Refuse a folder that would give its date to all in it, and might be that of the API's journal."""
    if business_date(name):
        raise ValueError("a date in it, which all its files would get")
    return name


InboxName = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9 .-]*$"), AfterValidator(_has_no_date)]


class DeclaredInbox(BaseModel):
    """An inbox elsewhere."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[str, Field(pattern="^((s3|gs|az)://[^/:@?#]+|sftp://([^/:@?#]+@)?[^/@?#]+)(/[^?#]*)?$")]
    """Without a password: addresses are told to people."""
    key: str | None = None
    known_hosts: str | None = None
    options: dict[str, str] = {}
    checksum: bool = True

    def inbox(self, name: str) -> RemoteInbox:
        """Return it as the pipeline takes it."""
        return RemoteInbox(name, self.url, self.key, self.known_hosts, self.options, self.checksum)


class DeclaredHooks(BaseModel):
    """Who is told."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[str, Field(pattern="^https?://[^/]+")] | None = None
    command: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    rejects_above: Share | None = None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://x")
        if not parts.hostname or parts.port == 0 or any(char <= " " for char in url or ""):
            raise ValueError("no address")
        return url

    def hooks(self) -> Hooks:
        """Return them as the pipeline takes them."""
        return Hooks(self.url, tuple(self.command or ()), self.rejects_above)


WANTED: dict[str, str] = {
    "match": 'a pattern of paths in the inbox or a list of such, such as "*/acme/*.csv"',
    "delimiter": 'one character that is no letter, digit, blank, quote or backslash, such as ";" or a tab, "\\t"',
    "encoding": '"utf-8", or one of one byte a character such as "cp1252" or "iso-8859-15"',
    "columns": 'the file\'s names and ours, such as { "Customer No" = "client_id" }',
    "constants": 'our names and the cell that every row has, such as { step = "create" }',
    "hold_above": "a share from 0 to 1, such as 0.5",
    "registration_patterns": 'a table with `individual` and `company`, each a regular expression such as "CR-.+"',
    "source": 'the name of a source, such as "acme"',
    "weekdays": 'a list of "mon" "tue" "wed" "thu" "fri" "sat" "sun"',
    "by": 'a time of the day, UTC, such as "06:30"',
    "days_later": "days after the business date, 0 to 7",
    "inboxes.url": 'where it is, without a password, such as "s3://bucket/folder", "gs://…", "az://…" or "sftp://user@host/folder"',
    "[key]": "a name that a folder of drops may have: letters, digits, dots, dashes, blanks, and no date in it",
    "key": "the file of a private key",
    "known_hosts": "a file as ssh has it",
    "options": 'what the store needs, such as { region = "eu-central-1" }; secrets belong into the environment',
    "checksum": "true or false",
    "since": "the first business date, such as 2026-11-16",
    "holidays": "a list of business dates, such as [2026-12-25, 2027-01-01]",
    "url": 'an http or https address, such as "https://chat.example/hook"',
    "command": 'a list: a program and what it is to be called with, such as ["/usr/local/bin/page-me", "night"]',
    "rejects_above": "a share from 0 to 1, such as 0.1",
}
"""By key."""


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
