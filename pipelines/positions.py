"""An event's position as one number, and rows found by it: searched in ascending numbers, where a join would hash all. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

LINES_A_DROP = 1 << 40
"""A position is one number: the drop's place times this, plus the line."""


def position(drop: pl.Expr | None = None) -> pl.Expr:
    """Return the position of an event, from its line and its drop's place (Int64; `rank`, unless told)."""
    return (pl.col("rank") if drop is None else drop) * LINES_A_DROP + pl.col("line")


class Positions:
    """The positions of a frame's rows, each once. Those of the log ascend already; others are put in order."""

    def __init__(self, pos: pl.Series) -> None:
        numbers = pos.to_numpy()
        self._order = np.argsort(numbers, kind="stable") if (numbers[1:] < numbers[:-1]).any() else None
        self._ascending = numbers if self._order is None else numbers[self._order]

    def rows_at(self, wanted: pl.Series) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """Tell of each wanted position whether a row stands there; return the rows that do, one a position that has one."""
        numbers = wanted.to_numpy()
        if self._order is None and np.array_equal(self._ascending, numbers):
            return np.ones(len(numbers), dtype=np.bool_), np.arange(len(numbers))
        found = np.searchsorted(self._ascending, numbers)
        there = found < len(self._ascending)
        there[there] = self._ascending[found[there]] == numbers[there]
        found = found[there]
        return there, found if self._order is None else self._order[found]

    def hold(self, wanted: pl.Series) -> pl.Series:
        """Tell of each wanted position whether a row stands there."""
        return pl.Series(self.rows_at(wanted)[0], dtype=pl.Boolean)
