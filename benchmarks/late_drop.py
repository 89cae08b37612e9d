"""What a late drop costs: 1,000 events for the first date, after 1,000,000 events of ten days.

    python benchmarks/late_drop.py [--events N] [--late N] [--days N] [--json]

Prints seconds and their share of the first run's, settling and loading (in-process) and the whole run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.home import Home, Settings
from pipelines.night import run_night
from pipelines.sampling import make_sample
from pipelines.summary import Night

FIRST_DAY = date(2026, 11, 1)


def late_events(folder: Path, count: int) -> None:
    """Write a drop of the first date whose events touch records of the sample: updates of clients that are there."""
    clients = sorted((folder / FIRST_DAY.isoformat()).glob("clients.jsonl"))[0]
    lines = (line for line in clients.read_bytes().splitlines() if b'"step":"create"' in line.replace(b" ", b""))
    late = folder / FIRST_DAY.isoformat() / "zz-late.jsonl"
    with late.open("wb") as stream:
        for number, line in zip(range(count), lines, strict=False):
            reference = line.partition(b'"client_id"')[2].partition(b'"')[2].partition(b'"')[0].decode()
            data = {"step": "update", "client_id": reference, "city": f"Late {number}"}
            stream.write(json.dumps({"category": "client", "data": data}).encode() + b"\n")


def decided(night: Night) -> float:
    """Return the seconds of settling and loading."""
    return night.steps["settle"] + night.steps["load"]


def measure(events: int, late: int, days: int) -> dict[str, Any]:
    """Return the seconds of both runs, whole and of settling and loading alone, and the steps of the late one."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.inbox.mkdir(parents=True)
        make_sample(home.inbox, events=events, seed=1, days=days, first_day=FIRST_DAY)
        first = run_night(home, Settings())
        late_events(home.inbox, late)
        second = run_night(home, Settings())
    figures = {}
    for name, night in {"first": first, "late": second}.items():
        figures[name] = {"events": night.events, "seconds": night.seconds, "decided_seconds": decided(night)}
    return figures | {"steps": second.steps}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--late", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = measure(asked.events, asked.late, asked.days)
    first, late = figures["first"], figures["late"]
    words = (
        f"first run: {first['events']:,} events in {first['seconds']:.2f} s, "
        f"settling and loading {first['decided_seconds']:.2f} s\n"
        f"late drop: {late['events']:,} events decided in {late['seconds']:.2f} s, "
        f"settling and loading {late['decided_seconds']:.2f} s\n"
        f"share: whole run {late['seconds'] / first['seconds']:.1%} (wanted 30 %), "
        f"settling and loading {late['decided_seconds'] / first['decided_seconds']:.1%} (wanted 5 %)\n"
        f"steps of the late run: { ({name: round(seconds, 3) for name, seconds in figures['steps'].items()}) }\n"
    )
    sys.stdout.write(json.dumps(figures) if asked.json else words)


if __name__ == "__main__":
    main()
