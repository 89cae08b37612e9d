"""What results say: medians and spreads, and ratios of runs that stood next to each other. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the lowest and highest it comes from."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of values, of which there must be one."""
        return cls(median(values), min(values), max(values))

    def said(self, form: str) -> str:
        """Return `2.10 (2.05 to 2.31)`; the number alone when there is but one."""
        ends = [format(end, form) for end in (self.low, self.high)]
        middle = format(self.middle, form)
        return middle if set(ends) == {middle} else f"{middle} ({ends[0]} to {ends[1]})"


@dataclass(frozen=True, slots=True)
class Results:
    """One file of results."""

    data: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Results:
        """Return what a file of results says."""
        return cls(json.loads(file.read_text(encoding="utf-8")))

    @property
    def is_full(self) -> bool:
        """Tell whether it was measured at full size."""
        return bool(self.data["scale"] == 1)

    @property
    def mixes(self) -> Mapping[str, Any]:
        """Return the mixes that were measured."""
        return dict(self.data["mixes"])

    def runs(self, mix: str, side: str) -> list[Run]:
        """Return the runs of a side on a mix, a round each; none when it was not measured."""
        found = self.data["mixes"].get(mix, {"sides": {}})["sides"].get(side, [])
        return list(found)

    def spread(self, mix: str, side: str, value: Callable[[Run], float]) -> Spread | None:
        """Return the spread of a value over the rounds; None when it was not measured."""
        runs = self.runs(mix, side)
        return Spread.of([value(run) for run in runs]) if runs else None

    def event_seconds(self, mix: str, side: str) -> list[float]:
        """Return seconds per event of a side's runs."""
        if mix not in self.mixes:
            return []
        events = self.mixes[mix]["events"]
        return [run["seconds"] / events for run in self.runs(mix, side)]

    def ratio(self, over: tuple[str, str], under: tuple[str, str]) -> Spread | None:
        """Return how many times the seconds per event of `under` `over` takes, each a mix and a side, paired by round."""
        pairs = list(zip(self.runs(*over), self.runs(*under), strict=False))  # what takes too long runs in fewer rounds
        if not pairs:
            return None
        more = self.mixes[under[0]]["events"] / self.mixes[over[0]]["events"]
        return Spread.of([a["seconds"] / b["seconds"] * more for a, b in pairs])

    def steps(self, mix: str) -> dict[str, float]:
        """Return the median seconds of each of nightdrop's steps; `start and end` is what is in none."""
        runs = self.runs(mix, "nightdrop")
        names = list(dict.fromkeys(name for run in runs for name in run["steps"]))
        steps = {name: median(run["steps"].get(name, 0.0) for run in runs) for name in names}
        if runs:
            steps["start and end"] = median(run["seconds"] - sum(run["steps"].values()) for run in runs)
        return steps
