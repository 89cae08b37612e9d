"""The diary of runs: what ran, what died, and which reports are still to be written. Outside the law.

Before a run commits, files beside the working warehouse say that it began and what it will owe; they go when it is paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from pipelines.files import read_json, write_json
from pipelines.home import Home
from pipelines.moment import Moment


@dataclass(frozen=True, slots=True)
class Died:
    """A run that did not come to its commit."""

    run_id: str
    started_at: datetime
    finished_at: datetime | None
    """None when it was killed."""
    state: str
    """failed: it said so; died: nobody knows."""


@contextmanager
def unfinished(home: Home, moment: Moment) -> Iterator[list[Died]]:
    """Mark a run as going on until the block ends; give the runs that did not end before it."""
    file = home.state / "unfinished.json"
    died = _read(file)
    mine = {"run_id": moment.run_id, "started_at": moment.at.isoformat(), "finished_at": None, "state": "died"}
    write_json(file, [*map(_as_json, died), mine])
    try:
        yield died
    except BaseException:
        mine |= {"finished_at": moment.finished.isoformat(), "state": "failed"}
        write_json(file, [*map(_as_json, died), mine])
        raise
    file.unlink()


def _read(file: Path) -> list[Died]:
    """Return the runs a file tells of; what cannot be understood is lost to the diary, and to nothing else."""
    rows = read_json(file, list)
    return [died for row in rows if (died := _died(row))] if isinstance(rows, list) else []


def _died(row: Any) -> Died | None:
    try:
        started, finished = row["started_at"], row["finished_at"]  # what has no such things is a TypeError
        times = datetime.fromisoformat(started), finished and datetime.fromisoformat(finished)
        return Died(str(row["run_id"]), *times, str(row["state"]))
    except (TypeError, KeyError, ValueError):
        return None


def _as_json(died: Died) -> dict[str, str | None]:
    return {
        "run_id": died.run_id,
        "started_at": died.started_at.isoformat(),
        "finished_at": died.finished_at.isoformat() if died.finished_at else None,
        "state": died.state,
    }


def never_committed(con: duckdb.DuckDBPyConnection, died: Sequence[Died]) -> list[str]:
    """Return the ids of those runs that left nothing in the warehouse."""
    known = {run_id for (run_id,) in con.execute("SELECT run_id FROM runs WHERE state = 'done'").fetchall()}
    return [run.run_id for run in died if run.run_id not in known]


def write_died(con: duckdb.DuckDBPyConnection, died: Sequence[Died]) -> None:
    """Put runs that did not end into `runs`."""
    known = {run_id for (run_id,) in con.execute("SELECT run_id FROM runs").fetchall()}
    for run in died:
        if run.run_id in known:  # it died after its commit, or was told of before
            continue
        con.execute(
            "INSERT INTO runs BY NAME SELECT $run_id AS run_id, $started_at AS started_at, $finished_at AS finished_at, "
            "$state AS state, $version AS version",
            {
                "run_id": run.run_id,
                "started_at": _naive(run.started_at),
                "finished_at": _naive(run.finished_at) if run.finished_at else None,
                "state": run.state,
                "version": version("nightdrop"),
            },
        )


def last_run(con: duckdb.DuckDBPyConnection) -> str | None:
    """Return the id of the last run that committed; None before the first."""
    # By the order of insertion, not by the clock, which may jump back.
    found = con.execute("SELECT run_id FROM runs WHERE state = 'done' ORDER BY rowid DESC LIMIT 1").fetchall()
    return found[0][0] if found else None


def last_rule_set(con: duckdb.DuckDBPyConnection) -> str:
    """Return the fingerprint of the rules that decided last, by the order of writing and no clock; empty before the first run."""
    rows = con.execute("SELECT rule_set FROM runs WHERE state = 'done' AND rule_set IS NOT NULL ORDER BY rowid DESC LIMIT 1")
    found = rows.fetchall()
    return str(found[0][0]) if found else ""


def write_run(con: duckdb.DuckDBPyConnection, moment: Moment, numbers: Mapping[str, int], rule_set: str) -> None:
    """Put this run into `runs`, done: it commits with what it did."""
    finished = moment.finished
    con.execute(
        "INSERT INTO runs BY NAME SELECT $run_id AS run_id, $started_at AS started_at, $finished_at AS finished_at, "
        "'done' AS state, "
        "$drops AS drops, $events AS events, $applied AS applied, $rejected AS rejected, $flipped AS flipped, "
        "$seconds AS seconds, $version AS version, $rule_set AS rule_set",
        {
            "run_id": moment.run_id,
            "started_at": _naive(moment.at),
            "finished_at": _naive(finished),
            **numbers,
            "seconds": (finished - moment.at).total_seconds(),
            "version": version("nightdrop"),
            "rule_set": rule_set,
        },
    )


def _naive(moment: datetime) -> datetime:
    """Return a UTC time as the warehouse keeps it: without zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def note_dates_to_report(home: Home, dates: Set[date]) -> None:
    """Note, before the commit, which reports the commit makes stale; they add up until they are written."""
    noted = _dates(home)
    if noted is not None:  # a damaged note means all dates already
        write_json(_dates_file(home), sorted(day.isoformat() for day in dates | set(noted)))


def dates_to_report(home: Home, con: duckdb.DuckDBPyConnection) -> list[date]:
    """Return the business dates whose report is to be written: all there are, when what was noted is damaged."""
    dates = _dates(home)
    if dates is not None:
        return dates
    found = con.execute("SELECT DISTINCT business_date FROM drops WHERE business_date IS NOT NULL ORDER BY 1").fetchall()
    return [day for (day,) in found]


def _dates(home: Home) -> list[date] | None:
    """Return the dates that were noted; None when the note is damaged."""
    if not _dates_file(home).exists():
        return []
    try:
        noted = read_json(_dates_file(home), list)
        return [date.fromisoformat(day) for day in noted] if isinstance(noted, list) else None
    except (TypeError, ValueError):
        return None


def reported(home: Home) -> None:
    """Note that all reports are written."""
    _dates_file(home).unlink(missing_ok=True)


def _dates_file(home: Home) -> Path:
    return home.state / "to_report.json"
