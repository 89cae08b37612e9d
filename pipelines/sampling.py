"""Synthetic drops of any size: the same bytes for the same seed, and a known share of events that the rules refuse."""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.problems import UsageError
from pipelines.sample_columns import Events
from pipelines.sample_kinds import CSV_CODES, KINDS, Kind
from pipelines.sample_lives import Draws, Lives, plan_lives
from pipelines.sample_values import COLUMNS
from validation.entities import ENTITIES
from validation.fields import Entity

MIX = {"client": 25, "loan": 20, "payment": 45, "deposit": 10}
"""How many of a hundred events each category has when all are asked for."""
FORMATS = ("jsonl", "csv")


@dataclass(frozen=True, slots=True)
class Sample:
    """The drops of a sample, not yet written."""

    drops: Mapping[str, pl.Series]
    """Path in the inbox to the lines of the file, a CSV's header among them."""
    events: int
    refused: Mapping[str, int]
    """How many events were made to be refused, by the reason each is to earn."""


def make_sample(
    out: Path,
    *,
    events: int,
    seed: int,
    rejected: float = 0.04,
    categories: Sequence[str] = tuple(MIX),
    days: int = 1,
    first_day: date = date(2026, 11, 16),
    format: str = "jsonl",
) -> list[Path]:
    """Write the drops of a sample under `out`, a folder a day and a file a category, and return their paths.

    A file that is already there with the same bytes stays as it is; one with other bytes raises UsageError
    before anything is written. The arguments are those of `draw_sample`.
    """
    sample = draw_sample(
        events=events,
        seed=seed,
        rejected=rejected,
        categories=categories,
        days=days,
        first_day=first_day,
        format=format,
    )
    _require(out.is_dir() or not out.exists(), f"--out must be a folder, and {out} is a file")
    drops = {out / path: lines for path, lines in sample.drops.items()}
    drafts = {path: path.with_name(f".{path.name}.tmp") for path in drops}
    try:
        for path in sorted(drops, key=lambda path: not path.exists()):  # so that a refusal leaves not even a folder
            path.parent.mkdir(parents=True, exist_ok=True)
            drops[path].to_frame().write_csv(drafts[path], include_header=False, quote_style="never")
            if path.exists() and not filecmp.cmp(path, drafts[path], shallow=False):
                raise UsageError(
                    f"{path}: a file with other bytes is already there. Nothing was written. "
                    "Take another --out folder, or move that file away."
                )
        for path, draft in drafts.items():
            draft.replace(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return list(drops)


def draw_sample(
    *,
    events: int,
    seed: int,
    rejected: float = 0.04,
    categories: Sequence[str] = tuple(MIX),
    days: int = 1,
    first_day: date = date(2026, 11, 16),
    format: str = "jsonl",
) -> Sample:
    """Draw exactly `events` events over all days, a share `rejected` of which the rules refuse.

    Each event is planned with the drops before it in mind: updates name living clients, loans their clients, payments
    their loans in the loan's currency, and what is refused is refused for one known reason. A category needs its
    parent's among `categories`. Another format says the same events.
    """
    _require(events >= 0, f"events must be 0 or more (got {events})")
    _require(days >= 1, f"days must be 1 or more (got {days})")
    _require(0 <= rejected <= 0.9, f"rejected must be a share from 0 to 0.9 (got {rejected})")
    _require(format in FORMATS, f"format must be one of {', '.join(FORMATS)} (got {format!r})")
    drops: dict[str, pl.Series] = {}
    refused: Counter[str] = Counter()
    lives: dict[str, Lives] = {}
    for category, size in _shares(events, categories).items():
        entity, kinds = ENTITIES[category], KINDS[category]
        parents = lives[entity.parent] if entity.parent else None
        plan = plan_lives(Draws(seed, category), kinds, events=size, days=days, rejected=rejected, parents=parents)
        lives[category] = plan
        lines = _lines(entity, plan, seed=seed, first_day=first_day, format=format)
        for day in range(days):
            start, end = np.searchsorted(plan.day, [day, day + 1])
            if start < end:
                name = f"{first_day + timedelta(days=day)}/{entity.table}.{format}"
                drops[name] = _with_header(entity, lines[start:end], format)
        refused.update(_codes(kinds, plan, format))
    return Sample(drops, events, dict(refused))


def _require(condition: bool, wanted: str) -> None:
    if not condition:
        raise UsageError(f"sample: {wanted}. Nothing was written.")


def _shares(events: int, categories: Sequence[str]) -> dict[str, int]:
    """Share the events out among the categories, parents first; each gets one before any gets more."""
    wanted = [category for category in ENTITIES if category in categories]
    for category in categories:
        _require(category in ENTITIES, f"categories are {', '.join(ENTITIES)} (got {category!r})")
        parent = ENTITIES[category].parent
        _require(parent is None or parent in wanted, f"a {category} hangs on a {parent}: ask for that category too")
    _require(bool(wanted), "at least one category is needed")
    first = {category: int(i < events) for i, category in enumerate(wanted)}
    rest = events - sum(first.values())
    total = sum(MIX[category] for category in wanted)
    shares = {category: first[category] + rest * MIX[category] // total for category in wanted}
    shares[wanted[0]] += events - sum(shares.values())
    return {category: share for category, share in shares.items() if share}


def _codes(kinds: Sequence[Kind], plan: Lives, format: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for kind, count in zip(kinds, np.bincount(plan.kind, minlength=len(kinds)).tolist(), strict=True):
        if kind.code and count:
            counts[CSV_CODES.get(kind.code, kind.code) if format == "csv" else kind.code] += count
    return counts


def _lines(entity: Entity, plan: Lives, *, seed: int, first_day: date, format: str) -> pl.Series:
    """Return the lines of a category's events in order: kind by kind in whole columns, then put into order."""
    count = len(plan.kind)
    born = plan.day[np.where(plan.entity < count, plan.entity, np.arange(count))]
    pieces: list[pl.Series] = []
    places = []
    for number, kind in enumerate(KINDS[entity.category]):
        at = np.flatnonzero(plan.kind == number)
        if not len(at):
            continue
        numbers = Events(seed, first_day, at, plan.entity[at], plan.parent[at], plan.day[at], born[at])
        cells = _cells(entity, kind, numbers)
        pieces.append(_as_csv(entity, kind, cells) if format == "csv" else _as_jsonl(entity, kind, cells))
        places.append(at)
    return pl.concat(pieces).gather(np.argsort(np.concatenate(places), kind="stable"))


def _cells(entity: Entity, kind: Kind, events: Events) -> dict[str, pl.Series | None]:
    """Return the columns that the events send, id first; None for an explicit null."""
    columns = COLUMNS[entity.category]
    cells: dict[str, pl.Series | None] = {entity.id: columns[entity.id](events)}
    for spelling in kind.sends.split():
        if spelling in kind.nulls:
            cells[spelling] = None
        elif spelling in kind.says:
            cells[spelling] = kind.says[spelling](events)
        else:
            cells[spelling] = columns[entity.field(spelling).name](events)
    return cells


def _as_jsonl(entity: Entity, kind: Kind, cells: Mapping[str, pl.Series | None]) -> pl.Series:
    category = kind.category or entity.category
    parts = [pl.lit(f'{{"category":"{category}","data":{{"step":"{kind.step}"')]
    for name, cell in cells.items():
        if cell is None:
            parts.append(pl.lit(f',"{name}":null'))
            continue
        mark = '"' if name in kind.quoted or _is_string(entity, name) else ""
        parts.append(pl.concat_str(pl.lit(f',"{name}":{mark}'), pl.lit(cell), pl.lit(mark)))
    line = pl.concat_str(*parts, pl.lit("}}"), ignore_nulls=True)
    match kind.broken:
        case "cut":
            line = line.str.slice(0, 70)
        case "wrapped":
            line = pl.concat_str(pl.lit("["), line, pl.lit("]"))
        case "doubled":
            line = line.str.replace('"step":', '"step":"update","step":', literal=True)
        case "misnamed":
            line = line.str.replace(f'"{category}"', '"customer"', literal=True)
        case "hollow":
            line = line.str.replace('"data":', '"date":', literal=True)
    return pl.select(line).to_series()


def _is_string(entity: Entity, name: str) -> bool:
    """Tell whether a spelling is sent as a JSON string; an unknown one is."""
    return name not in entity.spellings or entity.field(name).type.is_string


def _as_csv(entity: Entity, kind: Kind, cells: Mapping[str, pl.Series | None]) -> pl.Series:
    parts = [pl.lit(f"{'customer' if kind.broken == 'misnamed' else kind.category or entity.category},{kind.step}")]
    for name in _header(entity)[2:]:
        parts.append(pl.lit(","))
        if name in cells:
            cell = cells[name]
            parts.append(pl.lit(r"\N") if cell is None else pl.lit(_quoted(cell)))
    if kind.broken not in (None, "misnamed"):
        parts.append(pl.lit(",one cell too many"))
    return pl.select(pl.concat_str(parts, ignore_nulls=True)).to_series()


def _quoted(cell: pl.Series) -> pl.Series:
    """Return the cells as CSV wants them: between quotes where one of the column needs it."""
    if not cell.str.contains(r'[",\n]').any():
        return cell
    return pl.select(pl.concat_str(pl.lit('"'), pl.lit(cell).str.replace_all('"', '""', literal=True), pl.lit('"'))).to_series()


def _header(entity: Entity) -> list[str]:
    """Return the columns of the category's CSV: whatever one of its kinds sends."""
    sent = {name for kind in KINDS[entity.category] for name in kind.sends.split()}
    known = [name for name in entity.spellings[2:] if name in sent]
    return ["category", "step", entity.id, *known, *sorted(sent - set(known))]


def _with_header(entity: Entity, lines: pl.Series, format: str) -> pl.Series:
    if format != "csv":
        return lines
    return pl.concat([pl.Series([",".join(_header(entity))]), lines])
