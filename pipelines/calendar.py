"""Which drops are expected when, and which of them are not there. Pure but for one question to the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

LOOKED_BACK = 14
"""Business dates before today that are looked at: what is missing for longer is no news."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A drop that a source sends on some weekdays."""

    source: str
    weekdays: frozenset[int]
    """0 is Monday."""
    by: time
    """Until when it must be there, UTC."""
    days_later: int = 0
    """How many days after the business date that is."""

    def deadline(self, day: date) -> datetime | None:
        """Return until when the drop of a business date must be there; None when there is none that day."""
        if day.weekday() not in self.weekdays:
            return None
        return datetime.combine(day + timedelta(days=self.days_later), self.by, UTC)


@dataclass(frozen=True, slots=True)
class Missing:
    """An expected drop that did not come in time."""

    business_date: date
    source: str
    by: datetime


def missing(
    con: duckdb.DuckDBPyConnection, calendar: Sequence[Expected], source_of: Callable[[str], str], now: datetime
) -> tuple[Missing, ...]:
    """Return what should have come by now and did not, from the first business date of the warehouse on.

    A drop that came and is held, withdrawn or a duplicate did come.
    """
    if not calendar:
        return ()
    since = now.date() - timedelta(days=LOOKED_BACK)
    came = _came(con, since, now.date(), source_of)
    [(first,)] = con.execute("SELECT min(business_date) FROM drops").fetchall()
    if first is None:
        return ()
    days = (max(first, since) + timedelta(days=number) for number in range(LOOKED_BACK + 1))
    late = [
        Missing(day, one.source, deadline)
        for day in days
        if day <= now.date()
        for one in calendar
        if (deadline := one.deadline(day)) and deadline <= now and (day, one.source) not in came
    ]
    return tuple(sorted(late, key=lambda found: (found.business_date, found.source)))


def expected_on(
    con: duckdb.DuckDBPyConnection, calendar: Sequence[Expected], source_of: Callable[[str], str], day: date
) -> Iterator[dict[str, Any]]:
    """Yield what is expected of a business date: source, by, came. No clock is asked: who reads it compares `by` with theirs."""
    came = _came(con, day, day, source_of) if calendar else set()
    for one in calendar:
        deadline = one.deadline(day)
        if deadline:
            yield {"source": one.source, "by": deadline.isoformat(), "came": (day, one.source) in came}


def _came(con: duckdb.DuckDBPyConnection, since: date, until: date, source_of: Callable[[str], str]) -> set[tuple[date, str]]:
    asked = "SELECT DISTINCT business_date, path FROM drops WHERE business_date BETWEEN $since AND $until"
    found = con.execute(asked, {"since": since, "until": until}).fetchall()
    return {(day, source_of(path)) for day, path in found}
