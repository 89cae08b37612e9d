"""Which drops are expected when, and which of them are not there. Pure but for one question to the warehouse.

The clock comes in as `now` and decides one thing: whether the time is up for a drop that did not come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from typing import TYPE_CHECKING

from pipelines.discovery import business_date

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
    since: date | None = None
    """The first business date; None: that of the source's first drop."""
    holidays: frozenset[date] = frozenset()
    """Business dates of which nothing is expected."""

    def deadline(self, day: date) -> datetime | None:
        """Return until when the drop of a business date must be there; None when there is none that day."""
        if day.weekday() not in self.weekdays or day in self.holidays:
            return None
        return datetime.combine(day + timedelta(days=self.days_later), self.by, UTC)


@dataclass(frozen=True, slots=True)
class Due:
    """An expected drop of one business date."""

    source: str
    by: datetime
    came: bool
    """Also when it is held, withdrawn or a duplicate."""
    missing: bool
    """It did not come, and its time is up."""


@dataclass(frozen=True, slots=True)
class Missing:
    """An expected drop that did not come in time."""

    business_date: date
    source: str
    by: datetime


class Attendance:
    """The calendar beside what came, at one moment."""

    def __init__(self, expected: Sequence[Expected], came: set[tuple[date, str]], now: datetime) -> None:
        self._expected, self._came, self._now = expected, came, now
        firsts = {source: day for day, source in sorted(came, reverse=True)}
        unseen = self._unseen_since(min(firsts.values(), default=date.max))
        self._begins = [one.since or firsts.get(one.source, unseen) for one in expected]

    def _unseen_since(self, first: date) -> date:
        """Return from when a source is expected that never sent anything and of which nobody says since when."""
        today = self._now.date()
        # Not before the home's own first date. A home to which nobody sends must not pass for one that is fine.
        return max(today - timedelta(LOOKED_BACK), first if first < today else today - timedelta(1))

    def on(self, day: date) -> Iterator[Due]:
        """Yield what is expected of a business date."""
        for one, begins in zip(self._expected, self._begins, strict=True):
            deadline = one.deadline(day)
            if deadline and day >= begins:
                came = (day, one.source) in self._came
                yield Due(one.source, deadline, came, missing=not came and deadline <= self._now)

    def missing_on(self, day: date) -> tuple[Missing, ...]:
        """Return what is missing of a business date, by source."""
        found = {Missing(day, due.source, due.by) for due in self.on(day) if due.missing}
        return tuple(sorted(found, key=lambda late: (late.source, late.by)))

    def missing(self) -> tuple[Missing, ...]:
        """Return what is missing of the business dates that are looked at, by date and source."""
        return tuple(late for day in self.days() for late in self.missing_on(day))

    def days(self) -> list[date]:
        """Return the business dates that are looked at, the first one first."""
        today = self._now.date()
        return [today - timedelta(days) for days in range(LOOKED_BACK, -1, -1)]


NOBODY_EXPECTED = Attendance((), set(), datetime.fromtimestamp(0, UTC))


def attendance(
    con: duckdb.DuckDBPyConnection | None,
    expected: Sequence[Expected],
    source_of: Callable[[str], str],
    now: datetime,
    *,
    inbox: Callable[[], Iterable[str]] = tuple,
) -> Attendance:
    """Hold the calendar, at the moment `now`, beside the drops that a warehouse (if there is one) has and those of `inbox`.

    Nobody is asked when nothing is expected.
    """
    if not expected:
        return Attendance((), set(), now)
    asked = "SELECT DISTINCT business_date, path FROM drops WHERE business_date IS NOT NULL"
    came = con.execute(asked).fetchall() if con else []
    # What waits for the next run came too.
    waiting = ((day, path) for path in inbox() if (day := business_date(path)))
    return Attendance(expected, {(day, source_of(path)) for day, path in chain(came, waiting)}, now)
