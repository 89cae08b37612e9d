"""dlt to DuckDB: merge by client, the last event of each wins, deletes are hard deletes. No rule is checked.

    python benchmarks/merging.py insert_values|parquet FOLDER DROP…

An update that sends a few fields replaces the whole row: that is what merge does, and it is less work than merging fields.
`insert_values` is what dlt takes for DuckDB unless told otherwise.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
import orjson

BATCH = 10_000


def events(drops: list[str]) -> Iterator[dict[str, Any]]:
    """Return the events of the drops with their order; a line that is no event is left out."""
    position = 0
    for drop in sorted(drops):
        with Path(drop).open("rb") as stream:
            for line in stream:
                position += 1
                try:
                    event = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                data = event.get("data") if isinstance(event, dict) else None
                if isinstance(data, dict) and event.get("category") == "client":
                    yield {**data, "position": position, "deleted": data.get("step") == "delete"}


@dlt.resource(  # type: ignore[untyped-decorator,unused-ignore]  # not installed where mypy runs
    name="clients",
    write_disposition={"disposition": "merge", "strategy": "delete-insert"},
    primary_key="client_id",
    columns={
        "position": {"data_type": "bigint", "dedup_sort": "desc"},
        "deleted": {"data_type": "bool", "hard_delete": True},
        "info": {"data_type": "json"},
    },
)
def clients(drops: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Give the events in batches."""
    found = events(drops)
    while batch := list(islice(found, BATCH)):
        yield batch


def main() -> None:
    """Load the drops."""
    format, folder, *drops = sys.argv[1:]
    pipeline = dlt.pipeline(
        "clients",
        pipelines_dir=f"{folder}/dlt",
        destination=dlt.destinations.duckdb(f"{folder}/warehouse.duckdb"),
        dataset_name="lender",
    )
    pipeline.run(clients(drops), loader_file_format=format).raise_on_failed_jobs()
    rows = pipeline.last_trace.last_normalize_info.row_counts["clients"]
    sys.stdout.write(json.dumps({"events": rows}))


if __name__ == "__main__":
    main()
