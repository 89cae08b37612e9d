"""How a column of sample events is made: the numbers of the events, draws by them, and text put together of draws. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from pipelines.sample_lives import Flags, Ints, draw

FIRST_NUMBER = 10_000_001
"""Of the ids, so that all have the same length."""


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one kind, by their numbers."""

    seed: int
    first_day: date
    event: Ints
    entity: Ints
    parent: Ints
    day: Ints
    born: Ints
    """Day of the entity's create."""

    def draw(self, what: str, below: int, *, by: str = "entity") -> Ints:
        """Return a draw below a bound, the same for the same `by`: `entity`, `parent` or `event`."""
        return draw(self.seed, what, {"entity": self.entity, "parent": self.parent, "event": self.event}[by], below)

    def date(self, days: Ints) -> pl.Series:
        """Return the dates that many days after the first as text."""
        dates = np.datetime64(self.first_day, "D") + days
        return pl.Series(dates).cast(pl.Date).cast(pl.String)


Column = Callable[[Events], pl.Series]


def always(value: str) -> Column:
    """Return a column that says the same in every event."""
    return lambda events: pl.repeat(value, len(events.event), eager=True)


def text(*parts: str | pl.Series | Ints) -> pl.Series:
    """Join the parts, row by row; null where a part is null."""
    pieces = [pl.lit(part) if isinstance(part, str) else pl.lit(pl.Series(part)) for part in parts]
    return pl.select(pl.concat_str(pieces)).to_series()


def where(yes: Flags, one: pl.Series | str | None, other: pl.Series | str | None) -> pl.Series:
    """Return `one` where yes and `other` elsewhere."""
    return pl.select(pl.when(pl.Series(yes)).then(pl.lit(one)).otherwise(pl.lit(other))).to_series()


def some(percent: int, column: Column, what: str) -> Column:
    """Return the column in so many of a hundred events, absent in the others."""
    return lambda events: where(events.draw(what, 100, by="event") < percent, column(events), None)


def choice(what: str, *values: str) -> Column:
    """Return a column that says one of the values; a value named twice comes twice as often."""
    return lambda events: pl.Series(values).gather(events.draw(what, len(values), by="event"))


def money(cents: Ints) -> pl.Series:
    """Return amounts as text with two places."""
    return text(cents // 100, ".", pl.Series(cents % 100).cast(pl.String).str.zfill(2))


def ids(prefix: str, numbers: Ints) -> pl.Series:
    """Return the ids of entities."""
    return text(prefix, numbers + FIRST_NUMBER)
