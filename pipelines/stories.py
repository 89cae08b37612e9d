"""What there is to tell of one record: its chapters, events, fields and relatives. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

How = Literal["sent", "default", "absent", "unknown"]
"""How a record came to a value: a line sent it (null too), its create left the field out and it took the default or stayed
null, or neither log nor archive has the line any more."""


class Position(NamedTuple):
    """Where an event stands."""

    business_date: date
    path: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line} of {self.path} ({self.business_date})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason or warning. `cause` is the rejected create that a refusal follows from, with what was wrong with that."""

    code: str
    field: str | None
    value: str | None
    message: str
    cause: Position | None = None
    cause_message: str | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """A verdict that a later run changed, and the drop whose coming or going changed it."""

    run_id: str
    was: str | None
    now: str | None
    because_path: str | None


@dataclass(frozen=True, slots=True)
class Correction:
    """The line of a resubmitted file that stands in for the original one."""

    sha256: str
    its_line: int
    submitted_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the story. Not known: `sent` None."""

    position: Position
    step: str | None
    verdict: str
    decided_at: datetime
    sent: dict[str, Any] | None
    """Field -> value, its id aside; of an event that passes the event rules."""
    raw: bytes | None
    """The exact line of a rejected event."""
    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    why_not: str | None
    flips: tuple[Flip, ...]
    replaced_by: Correction | None


@dataclass(frozen=True, slots=True)
class FieldStory:
    """A field's value and where it came from. `how` unknown: the business date since when it holds, without path and line."""

    name: str
    value: Any
    how: How
    business_date: date | None
    path: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Relative:
    """A record that this one hangs on (`parent`) or that hangs on this one; one that was never created has no dates."""

    parent: bool
    category: str
    id: str
    created_on: date | None
    deleted_on: date | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An event about another record that was rejected because this one was unknown or deleted."""

    position: Position
    category: str
    step: str
    id: str
    code: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """The story of the id in one category. No `fields`: it was never created (by then)."""

    category: str
    created_on: date | None
    updated_on: date | None
    deleted_on: date | None
    fields: tuple[FieldStory, ...]
    events: tuple[Told, ...]
    later: int
    """Events after the business date that was asked for."""
    relatives: tuple[Relative, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of an id."""

    id: str
    as_of: date | None
    chapters: tuple[Chapter, ...]


def position_of(row: dict[str, Any]) -> Position:
    """Return the position that a row of a table names."""
    return Position(row["business_date"], row["path"], row["line"])
