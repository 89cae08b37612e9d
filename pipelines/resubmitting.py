"""Which issued bounce a fixed file answers: each of its slots stands for a line of a drop.

A slot is a record, or a blank line where the record is left rejected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import polars as pl

from pipelines.archive import Archive
from pipelines.blocks import BOM, content_length, is_blank
from pipelines.bounce import REASONS_SUFFIX
from pipelines.csvs import Scan, cells_of, scan_line
from pipelines.dialects import PLAIN, Dialect
from pipelines.home import Home
from pipelines.issues import Issue, Remembered, all_issues, digest_of, digests, issues_named
from pipelines.problems import UsageError
from pipelines.sources import ANYBODY, Sources

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
_SHOWN = 5
_UNCHANGED = "Nothing was changed."


@dataclass(frozen=True, slots=True, eq=False)
class Resubmitted:
    """A fixed bounce file, matched with what was issued."""

    issue: Issue
    slots: pl.DataFrame
    """A row a slot, in order: `line`, the line of its original; `its_line`, the line of the file on which the record that stands
    in for it starts, null when the slot was left empty; both Int64. `fixed`: whether the record is another than was issued."""


@dataclass(frozen=True, slots=True)
class _Slot:
    line: int
    content: bytes
    """Nothing when the slot was left empty."""


def match(home: Home, file: Path, sources: Sources = ANYBODY) -> Resubmitted:
    """Say which issued bounce a file answers, and which line stands in for which. Reads only.

    The issue is told by the file's name; by header, number of records and their ids where the name was changed, or where several
    were issued under it. Raises UsageError when that is not certain, or when the file has other slots than were issued.
    """
    data = _read(file)
    named = issues_named(home, file.name)
    candidates = named or all_issues(home)
    read = _Readings(data, sources)
    fitting = [known for known in candidates if _fits(known, read.under(known.issue))]
    if not fitting:
        raise UsageError(_why_none_fits(file, named, read))
    issued = _told_apart(fitting, read, Archive(home.archive))
    if len(issued) > 1 or not named:
        issued = [one for one in issued if _recognised(one, read.under(one.known.issue))] or issued * bool(named)
    if not issued:
        raise UsageError(_why_none_fits(file, (), read))
    if len(issued) > 1:
        raise UsageError(
            f"{file}: it may answer any of {len(issued)} bounces: {'; '.join(one.known.told for one in issued[:_SHOWN])}. "
            f"{_UNCHANGED} Take the bounce that now lies in reports/, put the fixed lines into it and resubmit it under its name."
        )
    ((known, fixed),) = issued
    found = read.under(known.issue).slots
    its_line = pl.Series("its_line", [slot.line if slot.content else None for slot in found], dtype=pl.Int64())
    return Resubmitted(known.issue, known.slots.select("line", its_line, pl.Series("fixed", fixed, dtype=pl.Boolean())))


class _Answered(NamedTuple):
    """An issue that a file may answer."""

    known: Remembered
    fixed: list[bool]
    """Whether the file has another record in a slot than was issued."""


def _told_apart(issues: Iterable[Remembered], read: _Readings, archive: Archive) -> list[_Answered]:
    """Return the issues of different lines, of several of the same lines that of which the file has most left as it was.

    A fix that is refused again is issued again under the same name.
    """
    found: dict[tuple[Issue, tuple[int, ...]], _Answered] = {}
    for known in issues:
        slots, issued = read.under(known.issue).slots, digests(known, archive)
        fixed = [digest_of(slot.content) != digest for slot, digest in zip(slots, issued, strict=True)]
        key = known.issue, tuple(known.slots["line"])
        if key not in found or sum(fixed) < sum(found[key].fixed):
            found[key] = _Answered(known, fixed)
    return list(found.values())


def _read(file: Path) -> bytes:
    """Return a file's bytes without BOM; refuse what cannot be a bounce."""
    if file.name.endswith(REASONS_SUFFIX):
        raise UsageError(
            f"{file}: this is the list of reasons. {_UNCHANGED} Fix the lines in {file.name.removesuffix(REASONS_SUFFIX)!r} and "
            "resubmit that."
        )
    try:
        if not file.is_file():
            raise UsageError(f"{file}: there is no such file. {_UNCHANGED} Bounce files lie in reports/<date>/.")
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: it cannot be read ({error.strerror}). {_UNCHANGED}") from error
    if data.startswith(_UTF_16):
        raise UsageError(f"{file}: it was saved as UTF-16; wanted UTF-8. {_UNCHANGED} Save it as UTF-8 and resubmit it.")
    if data.startswith(_COMPRESSED):
        raise UsageError(f"{file}: it is packed or a workbook; wanted plain text. {_UNCHANGED} Unpack it, or save it as CSV.")
    return data


class _Readings:
    """A fixed file as its bytes read under what an issue was written in; each way is read once."""

    def __init__(self, data: bytes, sources: Sources) -> None:
        self._body, self._sources = data.removeprefix(BOM), sources
        self._read: dict[Dialect | None, _Reading] = {}

    def under(self, issue: Issue) -> _Reading:
        """Return what the file says if it answers that issue."""
        dialect = self._sources.dialect_of(issue.path) if issue.is_csv else None
        if dialect not in self._read:
            self._read[dialect] = _Reading.of(self._body, dialect)
        return self._read[dialect]


@dataclass(frozen=True, slots=True)
class _Reading:
    """The header record of a CSV (None when there is none, or for JSONL) and the slots."""

    header: bytes | None
    slots: list[_Slot]
    dialect: Dialect

    @classmethod
    def of(cls, body: bytes, dialect: Dialect | None) -> _Reading:
        """Read JSONL, or CSV of a dialect."""
        if dialect is None:
            return cls(None, _lines(body), PLAIN)
        records = _csv_records(body, dialect.delimiter)
        at = next((number for number, slot in enumerate(records) if slot.content), len(records))
        return cls(records[at].content if at < len(records) else None, records[at + 1 :], dialect)


def _lines(body: bytes) -> list[_Slot]:
    return [_slot(number, line) for number, line in enumerate(BytesIO(body), 1)]


def _csv_records(body: bytes, delimiter: str) -> list[_Slot]:
    records: list[_Slot] = []
    scan, start, parts = Scan(delimiter=delimiter), 0, list[bytes]()
    for number, line in enumerate(BytesIO(body), 1):
        if not parts and (is_blank(line) or (b'"' not in line)):
            records.append(_slot(number, line))
            continue
        start = start if parts else number
        parts.append(line)
        scan_line(line, scan)
        if not scan.open_quote:
            records.append(_slot(start, b"".join(parts)))
            scan, parts = Scan(delimiter=delimiter), []
    if parts:  # a quote that stays open takes all the rest: one record, which the reader refuses in its turn
        records.append(_slot(start, b"".join(parts)))
    return records


def _slot(line: int, record: bytes) -> _Slot:
    return _Slot(line, b"" if is_blank(record) else record[: content_length(record)])


def _fits(known: Remembered, read: _Reading) -> bool:
    return len(read.slots) == known.slots.height and (not known.issue.is_csv or _same_header(known.issue.header, read))


def _same_header(issued: bytes, read: _Reading) -> bool:
    """Tell whether two headers name the same columns; an editor may put quotes around them or take them away."""
    found, encoding, delimiter = read.header, read.dialect.encoding, read.dialect.delimiter
    if found is None or found == issued:
        return found == issued
    try:
        return cells_of(found.decode(encoding), delimiter) == cells_of(issued.decode(encoding), delimiter)
    except (UnicodeDecodeError, ValueError):  # bytes that are no text, or an open quote: surely not what was issued
        return False


def _recognised(answered: _Answered, read: _Reading) -> bool:
    """Tell whether some slots are those of the issue (unchanged, or with the record's id in them) and none is another's."""
    evidence = 0
    for slot, record_id, is_fixed in zip(read.slots, answered.known.slots["id"], answered.fixed, strict=True):
        if not slot.content:
            continue
        if not is_fixed or (record_id and record_id.encode(read.dialect.encoding, "replace") in slot.content):
            evidence += 1
        elif record_id:
            return False
    return evidence > 0


def _why_none_fits(file: Path, named: Iterable[Remembered], readings: _Readings) -> str:
    issues = list(named)
    if not issues:
        return (
            f"{file}: this is no bounce file that was issued here: neither its name nor its header, its number of records and "
            f"their ids tell which one. {_UNCHANGED} Resubmit the fixed file under the name it has in reports/<date>/."
        )
    issue = issues[0].issue
    read = readings.under(issue)
    same_header = [known for known in issues if not issue.is_csv or _same_header(known.issue.header, read)]
    if not same_header:
        return (
            f"{file}: its header is {_text(read.header or b'')!r}; wanted it as it was issued, {_text(issue.header)!r}. "
            f"{_UNCHANGED} Put the header back and resubmit the file."
        )
    wanted = " or ".join(map(str, sorted({known.slots.height for known in same_header})))
    quotes = "; a quote that is not closed takes the lines after it" if issue.is_csv else ""
    many = "many" if len(read.slots) > max(known.slots.height for known in same_header) else "few"
    return (
        f"{file}: too {many} lines: it has {len(read.slots)} records and blank lines"
        f"{' under its header' if issue.is_csv else ''}, {wanted} were issued. {_UNCHANGED} Each issued record needs its place: "
        f"one that is to stay rejected is left as an empty line, no line is added or taken out{quotes}."
    )


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
