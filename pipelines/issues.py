"""Bounces as they were issued: kept for good under `data/state/bounces/`, for the warehouse may have moved on when a fix comes.

A Parquet file an issue, named by its content; of each line a digest, not the line.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import orjson
import polars as pl

from pipelines.files import sync_folder
from pipelines.home import Home
from pipelines.problems import NightdropError

_META = "nightdrop"
DIGEST = 16
"""Hexadecimal digits of the SHA-256 that tells whether a line is as it was issued."""
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
    """An issue and its slots: line, id (of the record, when it has one), digest (of the bytes)."""

    issue: Issue
    slots: pl.DataFrame

    @property
    def told(self) -> str:
        """Return what it was, in words."""
        return f"{self.issue.name} ({self.slots.height} records, of lines {_listed(self.slots['line'])} of {self.issue.path})"


def remember(home: Home, issue: Issue, slots: pl.DataFrame) -> None:
    """Keep for good what a bounce is about to be issued with (`Remembered.slots`); the same twice is kept once."""
    told = {"name": issue.name, "business_date": issue.business_date, "path": issue.path, "sha256": issue.sha256}
    meta = orjson.dumps(told | {"header": issue.header.hex()}).decode()
    content = hashlib.sha256(f"{meta}\n{slots.write_csv()}".encode()).hexdigest()
    place = _folder(home) / f"{_name_key(issue.name)}.{content}.parquet"
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    draft = place.with_suffix(".tmp")
    with draft.open("wb") as file:
        slots.write_parquet(file, metadata={_META: meta})
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
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:DIGEST]


def digest_of(content: bytes) -> str:
    """Return what tells whether a record is as it was issued."""
    return hashlib.sha256(content).hexdigest()[:DIGEST]


def _listed(numbers: pl.Series) -> str:
    more = ["…"] if len(numbers) > _SHOWN else []
    return ", ".join([*map(str, numbers.head(_SHOWN)), *more])
