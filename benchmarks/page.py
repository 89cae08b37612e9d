"""The tables of a bench run: for the terminal, and between the markers of docs/performance.md.

    python -m benchmarks.page        # write the page from the newest full results

Nothing in that part is typed by hand.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.drops import COMMON, HUGE, MIXES, SMALL
from benchmarks.figures import Results, Run, Spread
from benchmarks.goals import Goal, goals
from benchmarks.sides import HERE, OTHERS, ROOT, TITLES, run

PAGE = ROOT / "docs" / "performance.md"
PICTURE = PAGE.with_suffix(".svg")
KEPT = HERE / "results"
BEGIN, END = "<!-- bench: begin (written by `make bench`) -->", "<!-- bench: end -->"


def main() -> None:
    """Write the generated part of the page."""
    page, results = PAGE.read_text(encoding="utf-8"), kept()
    whole = newest_whole(results)
    if whole is not None:
        draw(whole, PICTURE)
    PAGE.write_text(with_part(page, generated(results)), encoding="utf-8")
    sys.stdout.write(f"written: {PAGE}\n")


def kept() -> list[Results]:
    """Return the kept results of full size, newest first."""
    found = [Results.read(file) for file in KEPT.glob("*.json")]
    return sorted((one for one in found if one.is_full), key=lambda one: str(one.data["made_at"]), reverse=True)


def newest_whole(results: Sequence[Results]) -> Results | None:
    """Return the newest run that measured every mix but the huge one."""
    return next((one for one in results if one.mixes.keys() >= MIXES.keys() - {HUGE}), None)


def draw(results: Results, out: Path) -> None:
    """Draw a run's time per event and step with the benchmark's own Python."""
    bars = []
    for name, mix in results.mixes.items():
        if name == SMALL:  # mostly the start of the process
            continue
        to_micro = 1e6 / mix["events"]
        floor = results.event_seconds(name, "floor")
        steps = {step: seconds * to_micro for step, seconds in results.steps(name).items()}
        bars.append({"title": mix["title"], "steps": steps, "floor": median(floor) * 1e6 if floor else None})
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        figures.write_text(json.dumps(bars), encoding="utf-8")
        run([str(OTHERS), "-P", str(HERE / "picture.py"), str(figures), str(out)], ROOT)


def with_part(page: str, part: str) -> str:
    """Return the page with another generated part. Raises ValueError when it has not each marker once, in order."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"{PAGE}: wanted `{BEGIN}` and after it `{END}`, once each. The page was not changed.")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{part}{END}{rest.partition(END)[2]}"


def generated(results: Sequence[Results]) -> str:
    """Return the generated part: the newest full run of all mixes, and the newest one of the huge file."""
    whole = newest_whole(results)
    if whole is None:
        return "\nNo full run has been kept yet.\n\n"
    huge = next((one for one in results if HUGE in one.mixes and one is not whole), None)
    parts = [text(whole), "![microseconds per event, by step](performance.svg)\n\n"]
    if huge is not None and HUGE not in whole.mixes:
        named = [goal for goal in goals(huge) if "20,000,000" in goal.what]
        parts += ["### 20,000,000 events in one file\n\n", _made(huge), _goal_table(named), _mix_table(huge)]
    return "\n" + "".join(parts)


def text(results: Results) -> str:
    """Return all tables of one bench run as Markdown."""
    return "".join(
        (
            _made(results),
            "### Goals\n\n",
            _goal_table(goals(results)),
            "### Every mix\n\n",
            _mix_table(results),
            "### Beside the others\n\n",
            _side_table(results),
            "### Seconds a step\n\n",
            _step_table(results),
        )
    )


def _made(results: Results) -> str:
    machine, versions = results.data["machine"], results.data["versions"]
    size = "" if results.is_full else f" **at {results.data['scale']:g} of the full sizes**"
    return (
        f"{results.data['made_at'][:16].replace('T', ' ')} UTC, commit {results.data['commit'][:7]}"
        f"{' with changes' if 'changes' in results.data['commit'] else ''}, rounds: {results.data['rounds']}{size}. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB, {machine['system']}; "
        f"load before: {machine['load_before']}. " + ", ".join(f"{name} {number}" for name, number in versions.items()) + ".\n\n"
    )


def _goal_table(found: Iterable[Goal]) -> str:
    rows = [
        (
            goal.what,
            f"{'≥' if goal.at_least else '≤'} {goal.limit:g} {goal.unit}",
            f"{goal.figure.said('.2f')} {goal.unit}" if goal.figure else "",
            goal.verdict,
        )
        for goal in found
    ]
    return _table(("what", "goal", "median (lowest to highest)", ""), rows)


def _mix_table(results: Results) -> str:
    rows = []
    for name, mix in results.mixes.items():
        each = results.event_seconds(name, "nightdrop")
        floor = results.ratio((name, "nightdrop"), (name, "floor"))
        common = results.ratio((name, "nightdrop"), (COMMON, "nightdrop"))
        rows.append(
            (
                mix["title"],
                f"{mix['events']:,}",
                f"{mix['bytes'] / 1e6:,.1f}",
                _said(results.spread(name, "nightdrop", _seconds), ".2f"),
                Spread.of([second * 1e6 for second in each]).said(".2f"),
                _said(floor, ".2f"),
                _said(common, ".2f"),
                _said(results.spread(name, "nightdrop", _megabytes), ",.0f"),
            )
        )
    columns = ("drops", "events", "MB", "seconds", "µs per event", "× DuckDB alone", "× common mix, per event", "peak MB")
    return _table(columns, rows)


def _side_table(results: Results) -> str:
    measured = [(name, side) for name in (COMMON, SMALL) for side in TITLES if results.runs(name, side)]
    rows = [
        (
            f"{results.mixes[name]['events']:,}",
            TITLES[side],
            _said(results.spread(name, side, _seconds), ".2f"),
            _said(results.spread(name, side, _processor), ".2f"),
            _said(results.spread(name, side, _megabytes), ",.0f"),
            _said(results.ratio((name, side), (name, "nightdrop")), ".2f"),
            _said(results.ratio((name, side), (COMMON, "nightdrop")), ".2f"),
        )
        for name, side in measured
    ]
    return _table(
        (
            "events",
            "side",
            "seconds",
            "processor seconds",
            "peak MB",
            "× nightdrop, same drops",
            "× nightdrop on the first, per event",
        ),
        rows,
    )


def _step_table(results: Results) -> str:
    steps = {name: results.steps(name) for name in results.mixes}
    columns = list(dict.fromkeys(step for one in steps.values() for step in one))
    rows = [(results.mixes[name]["title"], *(f"{one.get(step, 0):.2f}" for step in columns)) for name, one in steps.items()]
    return _table(("drops", *columns), rows)


def _seconds(run: Run) -> float:
    return float(run["seconds"])


def _processor(run: Run) -> float:
    return float(run["cpu_seconds"])


def _megabytes(run: Run) -> float:
    return float(run["peak_bytes"]) / 1e6


def _said(spread: Spread | None, form: str) -> str:
    return spread.said(form) if spread else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns), *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    main()
