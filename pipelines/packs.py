"""What goes back to a supplier: its refused lines, why in plain words, and how it went over its last nights.

Nothing of ours and nothing of other suppliers is in it: no table, no run, no path but of the supplier's own files.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipelines.archive import Archive
from pipelines.blocks import content_length
from pipelines.bounce import bounce_name, defused, opening, write_bounce, write_whole
from pipelines.charts import stacked
from pipelines.csvs import columns_named
from pipelines.discovery import path_key
from pipelines.excerpts import columns_of
from pipelines.files import sync_folder
from pipelines.headline import Headline
from pipelines.home import Home
from pipelines.issues import Issue, remember
from pipelines.mornings import Morning, Row, mornings
from pipelines.pages import rendered
from pipelines.problems import UsageError
from pipelines.rejected import InWarehouse, Original
from pipelines.rows import Words, rejection_rows, static_rows
from pipelines.sources import ANYBODY, Sources
from pipelines.visible import visible

NIGHTS = 14
"""Business dates in the trend."""
LETTER = "READ-ME-FIRST.html"
_LINES_SHOWN = 200
_EPOCH = (1980, 1, 1, 0, 0, 0)

_NIGHTS = """
    SELECT business_date, path, records, applied, rejected FROM drops
    WHERE status = 'applied' AND business_date <= $day ORDER BY business_date DESC
"""
_LIFE = {
    "unknown": '{what} "{value}" is not known to us by then',
    "exists": '{what} "{value}" exists already; an id is never used twice',
    "deleted": '{what} "{value}" was deleted before',
}
_LIFE_WANTED = {
    "unknown": "its create in an earlier file, or the one we refused put right: this line is then taken by itself",
    "exists": "an update, or a new id",
    "deleted": "an id that is not deleted",
}


@dataclass(frozen=True, slots=True)
class Pack:
    """What was made for a supplier."""

    place: Path | None
    """The folder or zip; none when nothing was refused or held, so that there is nothing to send."""
    files: tuple[str, ...]
    told: Headline


def write_pack(
    con: duckdb.DuckDBPyConnection, home: Home, day: date, source: str, out: Path, *, zipped: bool, sources: Sources = ANYBODY
) -> Pack:
    """Put what a source must know of a business date into `out`, as a folder or a zip named after both.

    `con` has the working warehouse open. Raises UsageError when nothing of that source came under that date, or the folder is
    there already; NightdropError when an archived original cannot be read.
    """
    (morning,) = mornings(con, [day])
    mine = _of_source(morning, source, sources)
    told = _headline(mine)
    if told.state == "fine":
        return Pack(None, (), told)
    name = re.sub(r"[^\w.-]+", "_", f"{source}-{day}")
    place = out / (f"{name}.zip" if zipped else name)
    draft = out / f".{name}.tmp"
    _assert_free(place, zipped=zipped)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o750, parents=True)
    try:
        columns = _write_bounces(con, home, draft, mine, sources)
        nights = _nights(con, day, source, sources)
        rows = None
        if not mine.rejections.is_empty():
            rows = rejection_rows(day.isoformat(), mine.rejections.head(_LINES_SHOWN), columns, {}, sources)
        write_whole(draft / LETTER, _letter(mine, source, told, nights, rows))
        files = tuple(sorted(file.name for file in draft.iterdir()))
        if zipped:
            write_whole(place, _zip(draft, name))
        else:
            sync_folder(draft)
            draft.replace(place)
        sync_folder(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Pack(place, files, told)


def _of_source(morning: Morning, source: str, sources: Sources) -> Morning:
    """Return a morning with nothing in it but what is of one source."""
    known = sorted({sources.name_of(drop["path"]) for drop in morning.drops})
    if source not in known:
        whose = f"there are drops of {', '.join(known)}" if known else "nothing came under that date"
        raise UsageError(f"{source}: no drop of {morning.day} is of this source; {whose}. Nothing was written.")
    return Morning(
        morning.day,
        [drop for drop in morning.drops if sources.name_of(drop["path"]) == source and drop["status"] in ("applied", "held")],
        paths=[row for row in morning.paths if sources.name_of(row["path"]) == source],
        rejections=morning.rejections.filter(
            pl.col("path").is_in([drop["path"] for drop in morning.drops if sources.name_of(drop["path"]) == source])
        ),
    )


def _headline(mine: Morning) -> Headline:
    totals, held = mine.totals, len(mine.held)
    taken = f"We took {totals['applied']:,} of {totals['records']:,} records; {totals['rejected']:,} need a fix."
    if held:
        files = "One file could not be taken at all." if held == 1 else f"{held:,} files could not be taken at all."
        return Headline("held", f"{files} {taken}" if totals["records"] else files)
    return (
        Headline("refused", taken) if totals["rejected"] else Headline("fine", f"All {totals['records']:,} records were taken.")
    )


def _assert_free(place: Path, *, zipped: bool) -> None:
    if place.is_dir() if zipped else place.exists():
        raise UsageError(
            f"{place}: there is something of this name already, and it may hold somebody's fixes. Nothing was written. Move it "
            "away, or choose another place with --out."
        )
    if not place.parent.is_dir():
        raise UsageError(f"{place.parent}: there is no such folder. Nothing was written. Make it, or choose another with --out.")


def _write_bounces(
    con: duckdb.DuckDBPyConnection, home: Home, folder: Path, mine: Morning, sources: Sources
) -> dict[str, dict[str, int]]:
    """Write the refused lines and their reasons; return the columns of the CSV drops."""
    archive = Archive(home.archive)
    columns: dict[str, dict[str, int]] = {}
    names: set[str] = set()
    in_hand = mine.in_hand()
    rejected = {row["path"] for row in mine.paths}
    for drop in mine.drops:
        if drop["status"] != "applied" or drop["path"] not in rejected:
            continue
        original = Original(mine.day, drop["path"], drop["sha256"])
        name = bounce_name(original.path, original.sha256, taken=names)
        names.add(name)
        dialect = sources.dialect_of(original.path)
        begins = opening(original, archive, dialect.delimiter)
        header = begins.header[: content_length(begins.header)]
        refused = in_hand.get(original.path) or InWarehouse(con, original, archive)
        remember(home, Issue(name, mine.day, original.path, original.sha256, header), refused.slots)
        write_bounce(folder, refused, begins, name=name, reasons=partial(_reasons, paths=rejected))
        if header:
            columns[original.path] = columns_of(columns_named(header, dialect))
    return columns


def _reasons(frames: Iterator[pl.DataFrame], *, paths: set[str]) -> Iterator[bytes]:
    """Yield the reasons of a drop as CSV, in words for its sender; causes are told of where they lie in its own files."""
    rows = []
    for row in chain.from_iterable(frame.iter_rows(named=True) for frame in frames):
        words = plain_words(row["code"], row["value"], row["message"])
        rows.append(
            {
                "line in the file of refused lines": row["bounce_line"],
                "line in your file": row["line"],
                "record": " ".join(filter(None, (row["category"], row["id"]))),
                "field": row["field"],
                "what you sent": row["value"],
                "what is wrong": words.wrong,
                "what is wanted": words.wanted,
                "what was probably meant": words.meant,
                "because of": _because(row, paths),
            }
        )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    yield defused(frame).write_csv().encode()


def plain_words(code: str, value: str | None, message: str) -> Words:
    """Return a reason in words that need no knowledge of how we decide."""
    what, _, kind = code.rpartition("_")
    if kind in _LIFE and what:
        return Words(visible(_LIFE[kind].format(what=what, value=value)), "", _LIFE_WANTED[kind])
    return Words.of(message)


def _because(row: Row, paths: set[str]) -> str | None:
    if row["cause_line"] is None:
        return None
    if row["cause_path"] in paths:
        return f"line {row['cause_line']} of {visible(row['cause_path'])} ({row['cause_date']}), which was refused"
    return "a record that was refused elsewhere; nothing to do here"


def _nights(con: duckdb.DuckDBPyConnection, day: date, source: str, sources: Sources) -> list[Row]:
    """Return how it went with the source on its last business dates up to that one, the oldest first."""
    nights: dict[date, Row] = defaultdict(lambda: {"records": 0, "applied": 0, "rejected": 0})
    for when, path, *counts in con.execute(_NIGHTS, {"day": day}).fetchall():
        if sources.name_of(path) != source:
            continue
        if when not in nights and len(nights) == NIGHTS:
            break
        for name, count in zip(("records", "applied", "rejected"), counts, strict=True):
            nights[when][name] += count or 0
    return [{"day": when, **counts} for when, counts in sorted(nights.items())]


def _letter(mine: Morning, source: str, told: Headline, nights: list[Row], data: dict[str, Any] | None) -> bytes:
    """Return the page that a person at the supplier reads first."""
    labels = [f"{night['day']:%m-%d}" for night in nights]
    series = {"taken": [night["applied"] for night in nights], "refused": [night["rejected"] for night in nights]}
    return rendered(
        "letter.html",
        told=told,
        source=source,
        day=mine.day,
        drops=mine.drops,
        reasons=_by_reason(mine),
        nights=nights,
        trend=stacked(f"Records of {source} a date", labels, series) if len(nights) > 1 else None,
        rows=_rows(mine, data),
        left=sum(row["reasons"] for row in mine.paths) - _LINES_SHOWN,
    )


def _by_reason(mine: Morning) -> list[Row]:
    """Return each kind of reason with its count and one example in plain words, the most frequent first."""
    counts: dict[str, int] = defaultdict(int)
    for row in mine.paths:
        counts[row["code"]] += row["reasons"]
    examples = {row["code"]: row for row in mine.rejections.unique("code", keep="first", maintain_order=True).to_dicts()}
    return [
        {
            "name": code.replace("_", " "),
            "count": count,
            "words": plain_words(code, examples[code]["value"], examples[code]["message"]) if code in examples else None,
        }
        for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _rows(mine: Morning, data: dict[str, Any] | None) -> list[Row]:
    if data is None:
        return []
    rows = static_rows(data, _LINES_SHOWN)
    told = mine.rejections.head(_LINES_SHOWN).select("code", "value", "message").iter_rows()
    return [row | {"words": plain_words(*words)} for row, words in zip(rows, told, strict=True)]


def _zip(folder: Path, name: str) -> bytes:
    """Return the files of a folder as a zip that is the same for the same files."""
    from io import BytesIO

    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir(), key=lambda file: path_key(file.name)):
            entry = zipfile.ZipInfo(f"{name}/{file.name}", _EPOCH)
            entry.external_attr, entry.compress_type = 0o640 << 16, zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as into, file.open("rb") as out:
                shutil.copyfileobj(out, into)
    return packed.getvalue()
