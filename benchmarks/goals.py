"""What is promised of speed and memory, and whether results keep it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.drops import COMMON, HUGE, MIXES, SMALL
from benchmarks.figures import Results, Run, Spread


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise beside its figure."""

    what: str
    limit: float
    unit: str
    figure: Spread | None
    """None when it was not measured."""
    at_least: bool = False
    is_full: bool = True
    """Measured at full size: only that is a verdict."""

    @property
    def is_met(self) -> bool:
        """Tell whether the median keeps the promise."""
        if self.figure is None:
            return False
        return self.figure.middle >= self.limit if self.at_least else self.figure.middle <= self.limit

    @property
    def verdict(self) -> str:
        """Return `met`, `not met`, `not measured`, or `too small` when the sizes were not the full ones."""
        if self.figure is None:
            return "not measured"
        if not self.is_full:
            return "too small"
        return "met" if self.is_met else "not met"


def goals(results: Results) -> list[Goal]:
    """Return every goal with what these results say about it."""
    return [replace(goal, is_full=results.is_full) for goal in _goals(results)]


def _goals(results: Results) -> list[Goal]:
    ours = (COMMON, "nightdrop")
    floor = results.ratio(ours, (COMMON, "floor"))
    return [
        Goal("the common mix beside DuckDB alone", 3, "×", floor),
        Goal("the common mix beside DuckDB alone, then on towards", 2, "×", floor),
        Goal("faster than the orjson + Pydantic loop", 8, "×", results.ratio((COMMON, "loop"), ours), at_least=True),
        Goal("faster than dlt", 80, "×", results.ratio((COMMON, "dlt"), ours), at_least=True),
        *(
            Goal(
                f"time per event beside the common mix: {mix.title}",
                mix.times_common,
                "×",
                results.ratio((name, "nightdrop"), ours),
            )
            for name, mix in MIXES.items()
            if name not in (COMMON, SMALL, HUGE)
        ),
        Goal("a run with nothing to do, over importing its libraries", 1, "s", _over_imports(results, COMMON)),
        Goal("the same, with a drop for each of 365 days", 1, "s", _over_imports(results, "year")),
        Goal("`nightdrop --help`", 0.3, "s", results.spread(COMMON, "help", _seconds)),
        Goal("peak memory, 1,000,000 events (the mix with most)", 1.5, "GB", _worst_peak(results)),
        Goal("peak memory, 20,000,000 events in one file", 3, "GB", results.spread(HUGE, "nightdrop", _gigabytes)),
        Goal("time per event, 20,000,000 beside 1,000,000", 1.2, "×", results.ratio((HUGE, "nightdrop"), ours)),
        *_late(results),
    ]


def _seconds(run: Run) -> float:
    return float(run["seconds"])


def _gigabytes(run: Run) -> float:
    return float(run["peak_bytes"]) / 1e9


def _over_imports(results: Results, mix: str) -> Spread | None:
    pairs = zip(results.runs(mix, "again"), results.runs(mix, "imports"), strict=False)
    return _spread([again["seconds"] - imports["seconds"] for again, imports in pairs])


def _worst_peak(results: Results) -> Spread | None:
    peaks = [results.spread(name, "nightdrop", _gigabytes) for name in MIXES if name != HUGE]
    return max((peak for peak in peaks if peak), key=lambda peak: peak.middle, default=None)


def _late(results: Results) -> list[Goal]:
    """Return what a late drop may cost of the first run: 1,000 events for the first date after 1,000,000 of ten days."""
    late = results.data["late"]
    whole = _spread([one["late"]["seconds"] / one["first"]["seconds"] for one in late])
    decided = _spread([one["late"]["decided_seconds"] / one["first"]["decided_seconds"] for one in late])
    return [
        Goal("a late drop's share of the first run: the whole run", 0.3, "×", whole),
        Goal("a late drop's share of the first run: settling and loading", 0.05, "×", decided),
    ]


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread.of(values) if values else None
