"""The floor: DuckDB alone reads the drops into a new database file, and checks nothing.

    python benchmarks/floor.py DATABASE DROP…

What cannot be read must not stop it: a line that is no JSON becomes a row of nulls, a ragged row of CSV is left out.
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path

import duckdb


def main() -> None:
    """Make one table per kind of drop."""
    database, *drops = sys.argv[1:]
    events = 0
    with duckdb.connect(database) as con:
        for name, files in groupby(sorted(drops, key=_table), key=_table):
            paths = list(files)
            read = "read_csv(?, ignore_errors=true)" if ".csv" in paths[0] else _READ_JSON
            con.execute(f"CREATE TABLE {name} AS FROM {read}", [paths]).fetchall()
            ((rows,),) = con.execute(f"SELECT count(*) FROM {name}").fetchall()
            events += rows
    sys.stdout.write(json.dumps({"events": events}))


_READ_JSON = "read_json(?, format='newline_delimited', ignore_errors=true)"


def _table(path: str) -> str:
    return Path(path).name.partition(".")[0]


if __name__ == "__main__":
    main()
