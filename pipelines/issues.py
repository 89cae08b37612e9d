"""Bounces as they were issued: kept for good under `data/state/bounces/`, for the warehouse may have moved on when a fix comes.

A Parquet file an issue, named by its content; of each line where its bytes stand in the archive, which keeps them for good.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from pathlib import Path

import orjson
import polars as pl

from pipelines.archive import Archive, damaged
from pipelines.discovery import drop_format
from pipelines.files import sync_folder
from pipelines.home import Home
from pipelines.problems import DropHeldError, NightdropError
from pipelines.ranges import read_ranges

_META = "nightdrop"
_DIGITS = 16
"""Of a SHA-256 in hexadecimal, that tell whether a line is as it was issued, and names apart."""
_DIGEST = "digest"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Issue:
    """A bounce as it was issued."""

    name: str
    business_date: date
    path: str
    sha256: str
    """Of the edition whose lines it has."""
    header: bytes
    """The CSV header without its line end; empty for JSONL."""

    @property
    def is_csv(self) -> bool:
        """Tell whether it holds CSV records under a header."""
        return self.name.endswith(".csv")


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """An issue and its slots."""

    issue: Issue
    slots: pl.DataFrame
    """As `Rejected.slots` tells of them. What was issued before 2026-11-23 has a `digest` instead of a place."""

    @property
    def told(self) -> str:
        """Return what it was, in words."""
        return f"{self.issue.name} ({self.slots.height} records, of lines {_listed(self.slots['line'])} of {self.issue.path})"


def remember(home: Home, issue: Issue, slots: pl.DataFrame) -> None:
    """Keep for good what a bounce is about to be issued with (`Rejected.slots`); the same twice is kept once."""
    told = {"name": issue.name, "business_date": issue.business_date, "path": issue.path, "sha256": issue.sha256}
    meta = orjson.dumps(told | {"header": issue.header.hex()}).decode()
    written = BytesIO()
    slots.write_parquet(written, metadata={_META: meta})
    content = written.getbuffer()
    place = _folder(home) / f"{_name_key(issue.name)}.{hashlib.sha256(content).hexdigest()}.parquet"
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    draft = place.with_suffix(".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(place)
    sync_folder(place.parent)


def issues_named(home: Home, name: str) -> list[Remembered]:
    """Return the issues of that name, or whose name a copy's name (`…(1).jsonl`, `….edited`) still has in it."""
    exact = [_load(place) for place in sorted(_folder(home).glob(f"{_name_key(name)}.*.parquet"))]
    return exact or [known for known in all_issues(home) if known.issue.name.rpartition(".")[0] in name]


def all_issues(home: Home) -> list[Remembered]:
    """Return all issues."""
    return [_load(place) for place in sorted(_folder(home).glob("*.parquet"))]


def _load(place: Path) -> Remembered:
    try:
        told = orjson.loads(pl.read_parquet_metadata(place)[_META])
        slots = pl.read_parquet(place)
    except (OSError, pl.exceptions.PolarsError, KeyError, orjson.JSONDecodeError) as error:
        raise NightdropError(
            f"{place}: what was kept of an issued bounce is damaged ({error}). Nothing was changed. Put the file back from a "
            "backup, or remove it: bounces issued from now on can be resubmitted without it."
        ) from error
    day = date.fromisoformat(told["business_date"])
    return Remembered(Issue(told["name"], day, told["path"], told["sha256"], bytes.fromhex(told["header"])), slots)


def _folder(home: Home) -> Path:
    return home.state / "bounces"


def _name_key(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def digest_of(content: bytes) -> str:
    """Return what tells whether a record is as it was issued."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def digests(known: Remembered, archive: Archive) -> list[str]:
    """Return, a slot each, what tells whether a record is as it was issued.

    Raises NightdropError when the archived bytes cannot be read.
    """
    if _DIGEST in known.slots.columns:
        return known.slots[_DIGEST].to_list()
    slots = known.slots.with_row_index("slot").sort("file", "byte_offset")
    found: list[str] = []
    for some in slots.partition_by("file", maintain_order=True):
        file, shape = some["file"][0], drop_format(known.issue.path.rpartition("/")[2])
        # A resubmitted file is plain, whatever it corrects.
        compression = shape[1] if shape and file is None else None
        places = some.select("byte_offset", "byte_length").to_numpy().T
        try:
            for records in read_ranges(archive, file or known.issue.sha256, compression, *places):
                found += map(digest_of, records.pieces())
        except DropHeldError as error:
            raise damaged(known.issue.path, file or known.issue.sha256) from error
    return slots.select("slot", pl.Series("digest", found, dtype=pl.String())).sort("slot")["digest"].to_list()


def _listed(numbers: pl.Series) -> str:
    more = ["…"] if len(numbers) > _SHOWN else []
    return ", ".join([*map(str, numbers.head(_SHOWN)), *more])
