"""What a late drop costs: 1,000 events for the first date, after 1,000,000 events of ten days.

    python benchmarks/late_drop.py [--events N] [--late N] [--days N]

Prints seconds and their share of the first run's, settling and loading (in-process) and the whole run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import date
from pathlib import Path

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


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--late", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.inbox.mkdir(parents=True)
        make_sample(home.inbox, events=asked.events, seed=1, days=asked.days, first_day=FIRST_DAY)
        first = run_night(home, Settings())
        late_events(home.inbox, asked.late)
        late = run_night(home, Settings())
        sys.stdout.write(
            f"first run: {first.events:,} events in {first.seconds:.2f} s, settling and loading {decided(first):.2f} s\n"
            f"late drop: {late.events:,} events decided in {late.seconds:.2f} s, settling and loading {decided(late):.2f} s\n"
            f"share: whole run {late.seconds / first.seconds:.1%} (wanted 30 %), "
            f"settling and loading {decided(late) / decided(first):.1%} (wanted 5 %)\n"
            f"steps of the late run: { ({name: round(seconds, 3) for name, seconds in late.steps.items()}) }\n"
        )


if __name__ == "__main__":
    main()
