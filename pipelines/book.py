"""The book of editions: every edition of every drop that came, in order of arrival, and what people decided about it.

A file a run, written and synced before the run's commit; the commit's run id says which file counts. So the book changes
with the warehouse or not at all.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson

from pipelines.files import read_json, sync_folder
from pipelines.problems import NightdropError


@dataclass(slots=True)
class Edition:
    """One edition of one drop: its bytes, what reading found, what people said."""

    path: str
    sha256: str
    bytes: int
    business_date: date | None
    picked_at: datetime
    run_id: str
    content: str | None = None
    """SHA-256 of the uncompressed bytes; None while they were never read."""
    lines: int | None = None
    """Line ends in them, plus an unterminated last line."""
    records: int | None = None
    refused: int | None = None
    """Records that fail a line or event rule."""
    hold: tuple[str, str] | None = None
    """Reason and detail, of what reading alone found."""
    read_under: str | None = None
    """Rule set under which all that was found."""
    manifest: dict[str, Any] | None = None
    """What its sidecar says: sha256, lines, or `problem` when it cannot be understood."""
    begins_with: list[str] = field(default_factory=list)
    """SHA-256 of older editions of the path that were corrected and whose bytes this one begins with."""
    withdrawn: bool = False
    released: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Return path and SHA-256."""
        return self.path, self.sha256


@dataclass(frozen=True, slots=True)
class Correction:
    """One line of a resubmitted file that stands in for a line of an edition."""

    path: str
    sha256: str
    """The edition it corrects."""
    line: int
    file: str
    """SHA-256 of the resubmitted file."""
    its_line: int
    submitted_at: datetime


@dataclass(frozen=True, slots=True)
class Unread:
    """A file of the inbox whose bytes could not be had."""

    business_date: date | None
    bytes: int
    hold: tuple[str, str]


@dataclass(slots=True)
class Book:
    """All editions, in the order of arrival within a path, and the corrections in the order in which they came."""

    editions: list[Edition] = field(default_factory=list)
    unread: dict[str, Unread] = field(default_factory=dict)
    corrections: list[Correction] = field(default_factory=list)
    _of_path: dict[str, list[Edition]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for edition in self.editions:
            self._of_path.setdefault(edition.path, []).append(edition)

    def of_path(self) -> dict[str, list[Edition]]:
        """Return the editions of each path, in order of arrival."""
        return self._of_path

    def standing_corrections(self, edition: Edition) -> dict[int, Correction]:
        """Return the correction that stands for each line of an edition: the latest of its own and of those it begins with."""
        owners = {edition.sha256, *edition.begins_with}
        return {c.line: c for c in self.corrections if c.path == edition.path and c.sha256 in owners}

    def arrive(self, edition: Edition) -> Edition:
        """Make this the last edition of its path; bytes that came before keep what is known and was said about them."""
        of_path = self._of_path.setdefault(edition.path, [])
        known = next((older for older in of_path if older.sha256 == edition.sha256), None)
        if known is None:
            self.editions.append(edition)
            of_path.append(edition)
            return edition
        if of_path[-1] is not known:
            for editions in (self.editions, of_path):
                editions.remove(known)
                editions.append(known)
        return known


def read_book(folder: Path, run_id: str | None) -> Book:
    """Return the book as that run left it; an empty one before the first run.

    Raises NightdropError when the run's book is not there.
    """
    if run_id is None:
        return Book()
    file = _file(folder, run_id)
    try:
        content = orjson.loads(file.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError) as error:
        raise NightdropError(
            f"{file}: the book of editions that belongs to the working warehouse is missing or damaged ({error}). Nothing was "
            "changed. Put data/state back from one backup as a whole, or `nightdrop rebuild`."
        ) from error
    return Book(
        [_edition(row) for row in content["editions"]],
        {path: _unread(row) for path, row in content["unread"].items()},
        [_correction(row) for row in content["corrections"]],
    )


def write_book(folder: Path, run_id: str, book: Book, after: str | None) -> None:
    """Write the book of a run, durably, before the run commits; `after` is the run whose book it continues."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    file = _file(folder, run_id)
    content = {
        "after": after,
        "editions": [asdict(edition) for edition in book.editions],
        "unread": {path: asdict(unread) for path, unread in book.unread.items()},
        "corrections": [asdict(correction) for correction in book.corrections],
    }
    with file.open("wb") as stream:
        stream.write(orjson.dumps(content, option=orjson.OPT_NAIVE_UTC))
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(folder)


def sweep(folder: Path, run_id: str) -> None:
    """Remove the books of all other runs. Only once this one's run has committed."""
    for file in folder.glob("*.json"):
        if file != _file(folder, run_id):
            file.unlink()


def newest(folder: Path) -> str | None:
    """Return the run of the newest book, for a warehouse that is lost; None when there is no book.

    That is the one that no other continues: the clock, and so the names, may have jumped back.
    """
    files = sorted(folder.glob("*.json"))
    continued = {read.get("after") for file in files if isinstance(read := read_json(file, dict), dict)}
    return max((file.stem for file in files if file.stem not in continued), default=None)


def _file(folder: Path, run_id: str) -> Path:
    return folder / f"{run_id}.json"


def _edition(row: dict[str, Any]) -> Edition:
    known = {name: row[name] for name in (each.name for each in fields(Edition)) if name in row}
    known["business_date"] = date.fromisoformat(row["business_date"]) if row["business_date"] else None
    known["picked_at"] = datetime.fromisoformat(row["picked_at"])
    known["hold"] = tuple(row["hold"]) if row["hold"] else None
    return Edition(**known)


def _unread(row: dict[str, Any]) -> Unread:
    day = date.fromisoformat(row["business_date"]) if row["business_date"] else None
    return Unread(day, row["bytes"], (row["hold"][0], row["hold"][1]))


def _correction(row: dict[str, Any]) -> Correction:
    return Correction(**{**row, "submitted_at": datetime.fromisoformat(row["submitted_at"])})
