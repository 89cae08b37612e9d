"""What a night came to, and the two ways in which a caller may watch it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, TypeVar

from pipelines.calendar import Missing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DropResult:
    """One drop as the run leaves it: a row of `drops` without the diary's columns."""

    path: str
    business_date: date | None
    sha256: str | None
    """None when the file could not be read at all."""
    bytes: int | None
    records: int | None
    """This count and the next three are None when the drop was not decided."""
    applied: int | None
    rejected: int | None
    warned: int | None
    status: str
    reason: str | None = None
    """Code of the contract's section 2; None when applied."""
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class RootCause:
    """One rejected create, and how many other records are rejected for want of it."""

    business_date: date
    path: str
    line: int
    codes: str
    """Why it was rejected."""
    followers: int


@dataclass(frozen=True, slots=True)
class Night:
    """One run from its start to its end."""

    run_id: str
    started_at: datetime
    finished_at: datetime
    drops: tuple[DropResult, ...]
    """The drops this run looked at: the newly applied ones, and all that are held now."""
    reasons: dict[str, int]
    """How often each reason code was given by what this run decided, most frequent first."""
    events: int
    applied: int
    rejected: int
    flipped: int
    """Verdicts of earlier runs that are now the other way round."""
    seconds: float
    steps: dict[str, float]
    """Seconds a step, in the order in which they ran."""
    changed: bool
    """False when there was nothing new: the warehouse is as it was."""
    dates: tuple[date, ...]
    """Business dates whose report was written."""
    causes: tuple[RootCause, ...] = ()
    """The rejected creates with most followers among what this run decided anew, most first."""

    missing: tuple[Missing, ...] = ()
    """Expected drops that did not come in time."""

    @property
    def held(self) -> tuple[DropResult, ...]:
        """Return the drops that wait for a person."""
        return tuple(drop for drop in self.drops if drop.status == "held")


class Progress(Protocol):
    """Somebody who watches a run."""

    def step(self, name: str, total: int | None) -> None:
        """Begin a step of `total` units (drops, events …); None when nobody knows how many."""

    def advance(self, n: int = 1) -> None:
        """Say that `n` more units of the step are done."""


class StepRunner(Protocol):
    """Runs one named step: plainly, or as the task of an orchestrator."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Run `work` once, or again when the world was broken, and return what it gives."""


WHAT_NEXT: dict[str, str] = {
    "no_business_date": "drop it again under a name or folder with its date, such as 2026-11-16/; or give it one: "
    "`nightdrop release PATH --date YYYY-MM-DD`",
    "unknown_format": "drop it again as .jsonl, .ndjson or .csv (lower case), plain or with .gz or .zst; "
    "`nightdrop withdraw PATH` lets this one go",
    "unreadable": "give this user the right to read it, or have a damaged file sent again; "
    "`nightdrop withdraw PATH` lets a damaged one go",
    "not_a_file": "put the file itself in the inbox: no link out of it, pipe or device",
    "too_large": "have it sent in parts, or raise the limit that it tells of; `nightdrop release PATH` takes it all the same",
    "truncated": "it ends in the middle: have it sent again under the same name; `nightdrop release PATH` takes it as it is, "
    "`nightdrop withdraw PATH` lets it go",
    "manifest_mismatch": "file and manifest disagree: have both sent again; `nightdrop release PATH` takes the file as it is, "
    "`nightdrop withdraw PATH` lets it go",
    "csv_header": "give it a header with `step`, an id column and each column once, and drop it again under the same name; if "
    "its source always writes so, say how (delimiter, names of columns) in `nightdrop.toml`; "
    "`nightdrop withdraw PATH` lets this one go",
    "too_many_rejects": "most of its records are refused: ask its sender whether this is the right file; if it is, "
    "`nightdrop release PATH`, if not, `nightdrop withdraw PATH`",
    "same_bytes_other_date": "the same bytes came under an earlier date: ask its sender for this day's file; if they are right "
    "for this day too, `nightdrop release PATH`, if not, `nightdrop withdraw PATH`",
}
"""What a person can do about a held drop, by reason code. Every run looks at it again by itself."""
