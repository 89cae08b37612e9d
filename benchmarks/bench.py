"""The whole job beside what people would use instead: all sides in turn, several rounds, one file of results a run.

python -m benchmarks.bench [--rounds N] [--scale F | --quick] [--mixes NAME …] [--huge] [--without-dlt] [--keep DIR]

The machine must have nothing else to do, or the figures are noise. `make bench` keeps the results and writes docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.drops import COMMON, HUGE, MIXES
from benchmarks.figures import Results
from benchmarks.sides import (
    HERE,
    OTHERS,
    ROOT,
    SLOW,
    BenchError,
    Place,
    compile_all,
    measure,
    note_modules,
    run,
    same_result,
    warm_up,
)

QUICK = 0.002
ROOM = 6
"""A home takes less than so many times the bytes of its drops; all drops lie there at once, but one home is full at a time."""
_BYTES_AN_EVENT = 250
_QUIET = 1.0
_LIBRARIES = ("duckdb", "polars", "pandera", "pyarrow", "numpy", "orjson", "pydantic", "email-validator")


def main() -> None:
    """Measure, print, keep."""
    asked = _asked()
    scale = QUICK if asked.quick else asked.scale
    names = asked.mixes or [name for name in MIXES if name != HUGE or asked.huge]
    with tempfile.TemporaryDirectory(prefix="nightdrop-bench-", dir=asked.work) as folder:
        try:
            _require_room(Path(folder), names, scale)
            results = measure_all(Path(folder), names, rounds=asked.rounds, scale=scale, dlt=not asked.without_dlt)
        except BenchError as error:
            sys.exit(f"bench: {error}\nNothing was kept.")
    sys.stdout.write(page.text(Results(results)))
    if asked.keep:
        made = datetime.fromisoformat(results["made_at"])
        file = asked.keep / f"{made:%Y-%m-%dT%H%M%SZ}-{results['commit'][:7]}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"\nkept as {file}\n")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes")
    parser.add_argument("--quick", action="store_true", help=f"the same as --scale {QUICK}")
    parser.add_argument("--mixes", nargs="+", choices=list(MIXES), help="only these")
    parser.add_argument("--huge", action="store_true", help="also the file of 20,000,000 events")
    parser.add_argument("--without-dlt", action="store_true", help="leave out the sides that need packages of their own")
    parser.add_argument("--keep", type=Path, help="folder for the file of results")
    parser.add_argument("--work", type=Path, help="folder for drops and homes (default: where temporary files go)")
    return parser.parse_args()


def _require_room(folder: Path, names: Sequence[str], scale: float) -> None:
    events = [MIXES[name].events * scale for name in names]
    wanted = int((sum(events) + ROOM * max(events)) * _BYTES_AN_EVENT)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise BenchError(f"{folder}: {free:,} bytes free, {wanted:,} wanted. Choose another disk with --work.")


def measure_all(folder: Path, names: Sequence[str], *, rounds: int, scale: float, dlt: bool) -> dict[str, Any]:
    """Make the drops of the mixes under a folder, run every side on them in turn, and return the results."""
    compile_all()
    places = {name: Place(folder / name) for name in names}
    mixes = {name: _made(name, place, scale) for name, place in places.items()}
    load = os.getloadavg()[0]
    if load > _QUIET:
        _say(f"the machine is at work (load {load:.1f}): the figures will be noise")
    late = []
    small = Place(folder / "small")
    _made(COMMON, small, 0)
    for number in range(rounds):
        for name, place in places.items():
            for side, one in _round(name, place, small, number, mixes[name]["events"], dlt=dlt).items():
                mixes[name]["sides"].setdefault(side, []).append(one)
        if COMMON in names:
            late.append(_late(scale))
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "scale": scale,
        "rounds": rounds,
        "machine": _machine(load),
        "versions": _versions(dlt=dlt),
        "mixes": mixes,
        "late": late,
    }


def _made(name: str, place: Place, scale: float) -> dict[str, Any]:
    mix = MIXES[name]
    events = max(mix.smallest, round(mix.events * scale))
    place.inbox.mkdir(parents=True)
    (place.root / "nightdrop.toml").write_text("hold_above = 1\n", encoding="utf-8")
    _say(f"{name}: drops of {events:,} events")
    # In a process of its own, so that this one stays small.
    run([sys.executable, "-P", "-m", "benchmarks.drops", name, str(events), str(place.inbox)], ROOT)
    sizes = [Path(drop).stat().st_size for drop in place.drops()]
    return {"title": mix.title, "events": events, "bytes": sum(sizes), "files": len(sizes), "sides": {}}


def _round(name: str, place: Place, small: Place, number: int, events: int, *, dlt: bool) -> dict[str, dict[str, Any]]:
    """Run each side of a mix once, warmed up on `small` drops; which one begins changes from round to round."""
    mix = MIXES[name]
    sides = [*mix.sides, *(mix.once if number == 0 else ())]
    sides = [side for side in sides if dlt or side not in SLOW]
    start = number % len(sides)
    found: dict[str, dict[str, Any]] = {}
    for side in (*sides[start:], *sides[:start]):
        place.clear()
        warm_up(side, place, small)
        found[side] = _measured(name, side, place, number)
        if side == "nightdrop" and mix.again:
            note_modules(place)
            found |= {more: _measured(name, more, place, number) for more in ("again", "imports", "help")}
    place.clear()
    same_result(found, events)
    return found


def _measured(name: str, side: str, place: Place, number: int) -> dict[str, Any]:
    cost = measure(side, place)
    _say(f"round {number + 1}, {name}, {side}: {cost['seconds']:.2f} s, {cost['peak_bytes'] / 1e6:,.0f} MB")
    return cost


def _late(scale: float) -> dict[str, Any]:
    events, late = max(1_000, round(1_000_000 * scale)), max(20, round(1_000 * scale))
    argv = [sys.executable, "-P", str(HERE / "late_drop.py"), "--json", "--events", str(events), "--late", str(late)]
    words, _ = run(argv, ROOT)
    return dict(json.loads(words))


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "flows", "pipelines", "validation", "benchmarks/*.py")
    return (git("rev-parse", "HEAD") or "unknown") + (" with changes" if changed else "")


def _machine(load: float) -> dict[str, Any]:
    processors = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": processors[0] if processors else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(load, 2),
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _versions(*, dlt: bool) -> dict[str, str]:
    found = {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}
    if dlt:
        words, _ = run([str(OTHERS), "-c", "import importlib.metadata as m; print(m.version('dlt'))"], ROOT)
        found["dlt"] = words.strip()
    return found


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


if __name__ == "__main__":
    main()
