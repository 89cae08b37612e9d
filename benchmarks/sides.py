"""Who is measured: the command of each side, and what it says about its own result."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "benchmarks"
BIN = Path(sys.executable).parent
OTHERS = ROOT / ".venv-bench" / "bin" / "python"
"""A Python with what is installed for the benchmark alone."""

TITLES = {
    "floor": "DuckDB alone",
    "loop": "orjson + Pydantic loop",
    "dlt": "dlt",
    "dlt-parquet": "dlt, load files as Parquet",
    "nightdrop": "nightdrop",
}
SLOW = ("dlt", "dlt-parquet")
"""Sides that need the benchmark's own packages."""
PACKAGES = ("api", "flows", "pipelines", "validation")
"""What is compiled before it is measured; as the Makefile has them."""
_PIECE = 16 * 1024 * 1024
_EXACT = ("loop", "nightdrop")
"""Sides that must come to the same counts."""


class BenchError(Exception):
    """A side failed or came to another result than it must."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one mix lies: a nightdrop home whose inbox all sides read."""

    root: Path

    @property
    def inbox(self) -> Path:
        """The drops."""
        return self.root / "data" / "inbox"

    @property
    def out(self) -> Path:
        """What the other sides write."""
        return self.root / "out"

    def drops(self) -> list[str]:
        """Return the paths of all drops in order."""
        return sorted(str(path) for path in self.inbox.rglob("*") if path.is_file())

    def clear(self) -> None:
        """Take away all that a side left behind."""
        (self.root / "data" / "warehouse.duckdb").unlink(missing_ok=True)
        for folder in (self.out, self.root / "data" / "state", self.root / "reports"):
            shutil.rmtree(folder, ignore_errors=True)
        self.out.mkdir()


def command(side: str, place: Place) -> list[str]:
    """Return the command of a side."""
    match side:
        case "floor":
            return [sys.executable, "-P", str(HERE / "floor.py"), str(place.out / "floor.duckdb"), *place.drops()]
        case "loop":
            return [sys.executable, "-P", str(HERE / "loop.py"), str(place.out), *place.drops()]
        case "dlt" | "dlt-parquet":
            format = "insert_values" if side == "dlt" else "parquet"
            return [str(OTHERS), "-P", str(HERE / "merging.py"), format, str(place.out), *place.drops()]
        case "nightdrop" | "again":
            return [str(BIN / "nightdrop"), "--home", str(place.root), "--json", "run"]
        case "help":
            return [str(BIN / "nightdrop"), "--help"]
        case "imports":
            return [sys.executable, "-P", str(HERE / "imports.py"), str(place.root / "modules.txt")]
    raise KeyError(side)


def compile_all() -> None:
    """Have nightdrop's bytecode ready, as pip has that of what it installs: where it may not be kept, each run makes it."""
    run([sys.executable, "-m", "compileall", "-q", *(str(ROOT / package) for package in PACKAGES)], ROOT)


def warm_up(side: str, place: Place, small: Place) -> None:
    """Have in the system's cache what a side reads: its libraries, by a run of it on a few events, and its drops."""
    small.clear()
    run(command(side, small), small.root)
    small.clear()
    for drop in place.drops():
        with Path(drop).open("rb") as stream:
            while stream.read(_PIECE):
                pass


def measure(side: str, place: Place) -> dict[str, Any]:
    """Run a side from its command's start to its end and return what it cost and what it says it did."""
    os.sync()  # what the side before left to be written must not be waited for by this one
    words, costs = run(command(side, place), place.root)
    said: dict[str, Any] = json.loads(words) if words.startswith("{") else {}
    kept = {name: said[name] for name in ("events", "applied", "rejected", "steps") if name in said}
    return costs | kept


def run(argv: Sequence[str], cwd: Path) -> tuple[str, dict[str, Any]]:
    """Run a command under the clock; return its standard output and its costs. Raises BenchError when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        costs = Path(folder) / "costs.json"
        timed = [sys.executable, "-S", "-P", str(HERE / "timed.py"), str(costs), *argv]
        done = subprocess.run(timed, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(argv[:4])} …: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout, json.loads(costs.read_text(encoding="utf-8"))


def environment() -> dict[str, str]:
    """Return the environment of every side: ours without settings of nightdrop, and this tree's code first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTDROP_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def note_modules(place: Place) -> None:
    """Write down which libraries a run with nothing to do has imported, for the side that only imports them."""
    argv = [sys.executable, "-P", str(HERE / "imports.py"), "--of", str(place.root), str(place.root / "modules.txt")]
    run(argv, place.root)


def same_result(runs: dict[str, dict[str, Any]], events: int) -> None:
    """Raise BenchError unless the sides that decide came to the same counts, and nightdrop saw every event."""
    counts = {side: (runs[side]["applied"], runs[side]["rejected"]) for side in _EXACT if side in runs}
    if len(set(counts.values())) > 1:
        raise BenchError(f"the sides do not agree on (applied, rejected): {counts}. Their times cannot be compared.")
    if "nightdrop" in runs and runs["nightdrop"]["events"] != events:
        raise BenchError(f"nightdrop decided {runs['nightdrop']['events']:,} of {events:,} events: is a drop held?")
