"""A file of the log in the order of ids: how its rows are put into it, and which of them may be of a range of ids. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import polars as pl

STEPS = 64
"""About so many steps has a file: it is read by whole ones."""


class Places(TypedDict):
    """Which ids stand where in a file; what has no id stands before the first step."""

    ids: list[str]
    """The first of each step."""
    starts: list[int]
    """The row where each step starts, and the end."""
    last: str | None
    """The last id of all; None when nothing has one."""


def in_steps(frames: Sequence[pl.DataFrame], column: str) -> tuple[pl.DataFrame, Places]:
    """Return the rows of frames, each of them in the order of its ids in that column, as those of one file, and their places.

    Within a step one frame's rows follow the other's: so they are only sliced, where an order throughout would copy them all.
    """
    named = [frame[column].drop_nulls() for frame in frames]
    sampled = pl.concat([ids.gather_every(1 + sum(map(len, named)) // (STEPS * len(frames))) for ids in named]).sort()
    firsts = sampled.gather_every(len(frames)).unique(maintain_order=True)
    edges = [
        [0, *(frame[column].null_count() + ids.search_sorted(firsts, side="left")).to_list(), len(frame)]
        for frame, ids in zip(frames, named, strict=True)
    ]
    steps = [
        pl.concat([frame.slice(at[step], at[step + 1] - at[step]) for frame, at in zip(frames, edges, strict=True)])
        for step in range(len(firsts) + 1)
    ]
    starts = np.cumsum([len(rows) for rows in steps]).tolist()
    last = max((str(ids[-1]) for ids in named if len(ids)), default=None)
    return pl.concat(steps), Places(ids=firsts.to_list(), starts=starts, last=last)


def stretch(places: Places, first: str | None, end: str | None, *, none: bool = False) -> tuple[int, int]:
    """Return from which row on and before which other a file may hold ids from `first` on and before `end`; None: an open side.

    `none`: where the rows without an id stand.
    """
    ids, starts, last = places["ids"], places["starts"], places["last"]
    if none:
        return 0, starts[0]
    if last is None or (first is not None and last < first):
        return 0, 0
    begin = max(0, bisect_right(ids, first) - 1) if first is not None else 0
    return starts[begin], starts[bisect_left(ids, end) if end is not None else len(ids)]
