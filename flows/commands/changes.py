"""How one warehouse differs from another, told as a story: which drops, which verdicts, which records field by field."""

from __future__ import annotations

from typing import Any

import polars as pl
from rich.console import RenderableType

from flows.terminal import indented, line, table
from pipelines.difference import Difference

_SHOWN = 30
_RUNS_SHOWN = 6
_IDS_SHOWN = 8
_MORE = "and {:,} more; --json gives all"


def difference_data(found: Difference) -> dict[str, Any]:
    """Return what `--json` prints of a difference: all of it."""
    return {
        "is_empty": found.is_empty,
        "counts": _counts(found),
        "drops": found.drops.to_dicts(),
        "verdicts": found.verdicts.to_dicts(),
        "records": found.records.to_dicts(),
        "tables": {
            name: {"only_before": rows.only_before.to_dicts(), "only_after": rows.only_after.to_dicts()}
            for name, rows in found.tables.items()
        },
    }


def difference_text(found: Difference, *, before: str, after: str) -> list[RenderableType]:
    """Return what a person reads of a difference; `before` and `after` head the columns of the two sides."""
    return [
        *_drops(found, before, after),
        *_verdicts(found, before, after),
        *_records(found, before, after),
        *_tables(found, before, after),
    ]


def in_a_sentence(found: Difference) -> str:
    """Return how much is other: `2 records, 3 verdicts and the status of 1 drop`."""
    counts = _counts(found)
    records, verdicts = sum(counts["records"].values()), sum(counts["verdicts"].values())
    parts = [
        *([_plural(records, "record")] if records else []),
        *([_plural(verdicts, "verdict")] if verdicts else []),
        *([f"the status of {_plural(found.drops.height, 'drop')}"] if found.drops.height else []),
    ]
    if not parts:
        parts = [f"rows of {_plural(len(found.tables), 'table')}"]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _counts(found: Difference) -> dict[str, dict[str, int]]:
    records = found.records.unique(["category", "id"]).group_by("change").len()
    verdicts = found.verdicts.with_columns(pl.col("was", "now").fill_null("none")).group_by("was", "now").len()
    return {
        "records": dict(sorted(records.iter_rows())),
        "verdicts": {f"{was} to {now}": count for was, now, count in sorted(verdicts.iter_rows())},
    }


def _drops(found: Difference, before: str, after: str) -> list[RenderableType]:
    if found.drops.is_empty():
        return []
    rows = [
        (row["business_date"], row["path"], _status(row["was"], row["was_reason"]), _status(row["now"], row["now_reason"]))
        for row in found.drops.head(_SHOWN).to_dicts()
    ]
    return [
        line(""),
        line(f"{_plural(found.drops.height, 'drop')}", "bold"),
        table(("date", "drop", before, after), rows),
        *_left(found.drops),
    ]


def _status(status: str | None, reason: str | None) -> str | None:
    return f"{status} ({reason})" if reason and status == "held" else status


def _verdicts(found: Difference, before: str, after: str) -> list[RenderableType]:
    if found.verdicts.is_empty():
        return []
    counts = _counts(found)["verdicts"]
    told = ", ".join(f"{count:,} {_turn(turn)}" for turn, count in counts.items())
    # A verdict that turns is what a person looks for, then what is refused; that the rest comes or goes, its drop says.
    one_sided = pl.col("was").is_null() | pl.col("now").is_null()
    together = (
        found.verdicts.group_by("business_date", "path", "was", "now", maintain_order=True)
        .agg(pl.col("line").sort().alias("lines"))
        .sort(one_sided, pl.col("now").ne_missing("rejected"), maintain_order=True)
    )
    rows = [
        (row["business_date"], row["path"], _lines(row["lines"]), row["was"], row["now"])
        for row in together.head(_SHOWN).to_dicts()
    ]
    return [
        line(""),
        line(f"{_plural(found.verdicts.height, 'verdict')}: {told}", "bold"),
        table(("date", "drop", "lines", before, after), rows),
        *_left(together),
    ]


def _lines(numbers: list[int]) -> str:
    """Return the lines of one drop that share a turn: the first ones, runs of them together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:_RUNS_SHOWN]]
    return ", ".join([*words, "…"] if len(runs) > _RUNS_SHOWN else words) + (f" ({len(numbers):,})" if len(numbers) > 1 else "")


def _turn(turn: str) -> str:
    was, _, now = turn.partition(" to ")
    return f"newly {now}" if was == "none" else f"{was} taken out" if now == "none" else f"{was} → {now}"


def _records(found: Difference, before: str, after: str) -> list[RenderableType]:
    if found.records.is_empty():
        return []
    told = ", ".join(f"{count:,} {change}" for change, count in _counts(found)["records"].items())
    many = _plural(sum(_counts(found)["records"].values()), "record")
    text: list[RenderableType] = [line(""), line(f"{many}: {told}", "bold")]
    for (change, category), ids in _whole_records(found.records):
        shown = ", ".join(ids[:_IDS_SHOWN])
        left = f" and {len(ids) - _IDS_SHOWN:,} more" if len(ids) > _IDS_SHOWN else ""
        text.append(indented(f"{change}: {_plural(len(ids), category)}, {shown}{left}", by=2))
    changed = found.records.filter(pl.col("change") == "changed")
    if changed.is_empty():
        return text
    rows = [
        (row["category"], row["id"], row["change"], row["field"], row["before"], row["after"])
        for row in changed.head(_SHOWN).to_dicts()
    ]
    return [*text, table(("record", "id", "change", "field", before, after), rows), *_left(changed)]


def _whole_records(records: pl.DataFrame) -> list[tuple[tuple[str, str], list[str]]]:
    """Return the ids of the records that come or go, by change and category."""
    whole = records.filter(pl.col("change") != "changed")
    return [
        ((change, category), ids)
        for change, category, ids in whole.group_by("change", "category", maintain_order=True).agg("id").iter_rows()
    ]


def _tables(found: Difference, before: str, after: str) -> list[RenderableType]:
    if not found.tables:
        return []
    sides = [f"{name} {rows.only_before.height:,} → {rows.only_after.height:,}" for name, rows in found.tables.items()]
    return [line(""), line(f"Rows that only one side has ({before} → {after}): {', '.join(sides)}", "dim")]


def _left(rows: pl.DataFrame) -> list[RenderableType]:
    return [line(_MORE.format(rows.height - _SHOWN), "dim")] if rows.height > _SHOWN else []


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
