"""Draw where nightdrop's time goes: microseconds per event by step, a bar a mix, DuckDB alone beside it.

    .venv-bench/bin/python benchmarks/picture.py FIGURES.json OUT.svg

Needs matplotlib, which is installed for the benchmark alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypedDict

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt  # after the choice of backend

WIDTH = 9.0
BAR = 0.42
SMALLEST = 0.02
"""A step with a smaller share of every bar is drawn with the others."""


class Bar(TypedDict):
    """One mix, in microseconds per event."""

    title: str
    steps: dict[str, float]
    floor: float | None


def main() -> None:
    """Draw."""
    figures, out = map(Path, sys.argv[1:])
    bars = json.loads(figures.read_text(encoding="utf-8"))
    draw(bars, out)


def draw(bars: list[Bar], out: Path) -> None:
    """Write the picture, a bar a mix."""
    # Text stays text, and the same figures give the same bytes.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "nightdrop", "font.size": 9, "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(WIDTH, 1.4 + BAR * len(bars)), layout="constrained")
    places = range(len(bars))
    reached = [0.0] * len(bars)
    for number, step in enumerate(_steps(bars)):
        widths = [_width(bar, step, bars) for bar in bars]
        axes.barh(places, widths, left=reached, height=0.62, label=step, color=f"C{number}")
        reached = [left + width for left, width in zip(reached, widths, strict=True)]
    floors = [(place, bar["floor"]) for place, bar in zip(places, bars, strict=True) if bar["floor"] is not None]
    axes.plot(
        [floor for _, floor in floors], [place for place, _ in floors], "k|", markersize=13, label="DuckDB alone (all of it)"
    )
    axes.set_yticks(places, [str(bar["title"]) for bar in bars])
    axes.invert_yaxis()
    axes.set_xlabel("microseconds per event, median of the rounds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.4, 1.0), frameon=False)
    figure.savefig(out, metadata={"Date": None})


def _steps(bars: list[Bar]) -> list[str]:
    """Return the steps to draw, in their order, the small ones of all bars as `other`."""
    names = list(dict.fromkeys(name for bar in bars for name in bar["steps"]))
    return [name for name in names if not _is_small(name, bars)] + ["other"]


def _is_small(step: str, bars: list[Bar]) -> bool:
    return all(bar["steps"].get(step, 0.0) < SMALLEST * sum(bar["steps"].values()) for bar in bars)


def _width(bar: Bar, step: str, bars: list[Bar]) -> float:
    if step == "other":
        return sum(width for name, width in bar["steps"].items() if _is_small(name, bars))
    return bar["steps"].get(step, 0.0)


if __name__ == "__main__":
    main()
