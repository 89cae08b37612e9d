"""What a home takes: disk, memory and seconds as functions of events, for `docs/operate.md`.

    python -m benchmarks.capacity [--events 10000 100000 300000] [--json]

Each home gets ten business dates of the sample: nine in its first run, the tenth in a night of its own on top of them; then
`verify` builds it anew beside itself. Each command is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from pipelines.home import Home
from pipelines.sampling import make_sample

_DAYS = 10
_FIRST_DAY = date(2026, 11, 1)
_TIMED = Path(__file__).with_name("timed.py")
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command cost."""

    seconds: float
    cpu_seconds: float
    """What is left of the seconds when others use the machine too."""
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a home of so many events takes."""

    events: int
    inbox_bytes: int
    first: Cost
    """The first run, over nine tenths of the events."""
    night: Cost
    """The night after it, over one tenth."""
    verify: Cost
    disk: dict[str, int]
    """Bytes by part, the inbox not included."""


def measure(events: int) -> Taken:
    """Make a home of that many events and return what it takes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.inbox.mkdir(parents=True)
        make_sample(home.inbox, events=events, seed=1, days=_DAYS, first_day=_FIRST_DAY)
        *_, last = sorted(home.inbox.iterdir())
        aside = last.rename(Path(folder) / last.name)
        first = _timed(home, "run")
        aside.rename(last)
        night = _timed(home, "run")
        return Taken(events, _bytes(home.inbox), first, night, _timed(home, "verify"), _disk(home))


def _timed(home: Home, command: str) -> Cost:
    costs = home.root / "costs.json"
    words = [sys.executable, "-S", str(_TIMED), str(costs), sys.executable, "-m", "flows.cli", "--home", str(home.root), command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"capacity: `nightdrop {command}` ended with {done.returncode}: {done.stderr}")
    found = json.loads(costs.read_bytes())
    return Cost(found["seconds"], found["cpu_seconds"], found["peak_bytes"])


def _disk(home: Home) -> dict[str, int]:
    log = _bytes(home.state) - _bytes(home.archive) - _bytes(home.working)
    parts = {"archive": home.archive, "working": home.working, "warehouse": home.warehouse, "reports": home.reports}
    return {name: _bytes(place) for name, place in parts.items()} | {"log and book": log}


def _bytes(place: Path) -> int:
    files = [place] if place.is_file() else place.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def page(taken: list[Taken]) -> str:
    """Return the figures as two Markdown tables: what the commands cost, what lies on the disk."""
    commands = [name for command in ("first run", "a night more", "verify") for name in (command, "CPU", "peak")]
    costs = [(f"{home.events:,}", *_words(home.first), *_words(home.night), *_words(home.verify)) for home in taken]
    parts = ("archive", "log and book", "working", "warehouse", "reports")
    disk = [
        (
            f"{home.events:,}",
            *(f"{size / _MB:,.1f} MB" for size in (home.inbox_bytes, *(home.disk[part] for part in parts))),
            f"{sum(home.disk.values()) / home.events:,.0f} bytes",
        )
        for home in taken
    ]
    names = ("events", "inbox", *parts, "an event, without the inbox")
    return "\n\n".join([_table(("events", *commands), costs), _table(names, disk)])


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---:"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _words(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.seconds:.1f} s", f"{cost.cpu_seconds:.1f} s", f"{cost.peak_bytes / _MB:,.0f} MB"


def main() -> None:
    """Measure homes of several sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 100_000, 300_000], metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    said = parser.parse_args()
    taken = [measure(events) for events in said.events]
    print(json.dumps({"homes": [asdict(home) for home in taken]}) if said.json else page(taken))


if __name__ == "__main__":
    main()
