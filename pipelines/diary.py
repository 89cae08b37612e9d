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

import duckdb
import orjson

from pipelines.home import Home
from pipelines.loading import Moment


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
    _write(file, [*map(_as_json, died), mine])
    try:
        yield died
    except BaseException:
        mine |= {"finished_at": datetime.now(UTC).isoformat(), "state": "failed"}
        _write(file, [*map(_as_json, died), mine])
        raise
    file.unlink()


def _read(file: Path) -> list[Died]:
    try:
        rows = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return []
    except orjson.JSONDecodeError:  # a machine that went down while it was written: the run it told of is lost to the diary
        return []
    times = ("started_at", "finished_at")
    return [Died(**{**row, **{name: row[name] and datetime.fromisoformat(row[name]) for name in times}}) for row in rows]


def _as_json(died: Died) -> dict[str, str | None]:
    return {
        "run_id": died.run_id,
        "started_at": died.started_at.isoformat(),
        "finished_at": died.finished_at.isoformat() if died.finished_at else None,
        "state": died.state,
    }


def _write(file: Path, content: object) -> None:
    beside = file.with_suffix(".tmp")
    beside.write_bytes(orjson.dumps(content))
    beside.replace(file)


def write_died(con: duckdb.DuckDBPyConnection, died: Sequence[Died]) -> None:
    """Put runs that did not end into `runs`."""
    for run in died:
        con.execute("DELETE FROM runs WHERE run_id = $run", {"run": run.run_id})
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


def write_run(con: duckdb.DuckDBPyConnection, moment: Moment, numbers: Mapping[str, int], rule_set: str) -> None:
    """Put this run into `runs`, done: it commits with what it did."""
    finished = datetime.now(UTC)
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
    _write(_dates_file(home), sorted(day.isoformat() for day in dates | set(dates_to_report(home))))


def dates_to_report(home: Home) -> list[date]:
    """Return the business dates whose report is to be written."""
    try:
        return [date.fromisoformat(day) for day in orjson.loads(_dates_file(home).read_bytes())]
    except FileNotFoundError:
        return []


def reported(home: Home) -> None:
    """Note that all reports are written."""
    _dates_file(home).unlink(missing_ok=True)


def _dates_file(home: Home) -> Path:
    return home.state / "to_report.json"
