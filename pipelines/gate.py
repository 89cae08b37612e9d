"""The gate before the commit and the publication: it asks whether every promise of the warehouse holds, and lets nothing else by.

`check` runs inside the open transaction, or on a published file opened read-only. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from pipelines.problems import NightdropError
from pipelines.promises import CHECKS, Check

_SHOWN = 3
"""How many offending rows of a check the error names."""
_UNTOLD = frozenset({"field", "value"})
"""Columns that hold what a sender wrote, a name perhaps: an error ends in logs."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that found something."""

    check: Check
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    """The first of the rows that break it."""


def check(con: duckdb.DuckDBPyConnection, *, since: date | None = None) -> None:
    """Raise NightdropError naming every promise that does not hold.

    `since`: the earliest business date a run touched; what lies wholly before it is not looked at again.
    """
    found = failures(con, since=since)
    if not found:
        return
    told = "\n".join(f"  {failure.check.promise}; not so: {_tell(failure)}" for failure in found)
    raise NightdropError(
        f"the warehouse does not add up, so nothing of this run was kept or published:\n{told}\n"
        "Readers have the warehouse of before. Run again; if this comes back, `nightdrop rebuild` makes the warehouse "
        "anew out of the archive, and the lines above belong in a bug report."
    )


def failures(
    con: duckdb.DuckDBPyConnection, *, since: date | None = None, checks: Sequence[Check] | None = None
) -> list[Failure]:
    """Return every check (of all, unless told) that finds a row, with the first of its rows."""
    asked = CHECKS if checks is None else checks
    # All in one statement: DuckDB answers several at once then, while each by itself leaves a core idle.
    any_row = (f"(SELECT {number} FROM ({one.sql}) LIMIT 1)" for number, one in enumerate(asked))
    found: list[Failure] = []
    for (number,) in sorted(_ask(con, " UNION ALL ".join(any_row), since).fetchall()):
        result = _ask(con, f"SELECT * FROM ({asked[number].sql}) LIMIT {_SHOWN}", since)
        columns = tuple(column[0] for column in result.description or ())
        found.append(Failure(asked[number], columns, tuple(result.fetchall())))
    return found


def _ask(con: duckdb.DuckDBPyConnection, sql: str, since: date | None) -> duckdb.DuckDBPyConnection:
    return con.execute(sql, {"since": since or date.min} if "$since" in sql else {})


def _tell(failure: Failure) -> str:
    rows = (
        ", ".join(
            f"{column} {value!s}"
            for column, value in zip(failure.columns, row, strict=True)
            if value is not None and column not in _UNTOLD
        )
        for row in failure.rows
    )
    return "; ".join(rows) + (" …" if len(failure.rows) == _SHOWN else "")
