"""The judge of section 2: which editions live after what was delivered and what people did, and why the others do not. Pure.

It shares no code with the pipeline on purpose. `History` takes the acts in order; `living`, `rows` and `tables` say what must be.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from oracle import Drop, Event, Held, Tables, business_date, law, path_key, read
from oracle_reading import BOM, LONGEST_LINE, LineReason, delivered, expand, is_drop, is_journal
from oracle_rules import DEPENDENCIES, Row, event_rules, said_by

ENOUGH = 20
"""So many records and more are judged as a whole: too many rejects, the same bytes under another date."""
HOLDS = (
    *("unknown_format", "no_business_date", "unreadable", "csv_header", "truncated", "too_large"),
    *("manifest_mismatch", "too_many_rejects"),
)
"""What an edition is held for by itself; the first is told."""
FINAL = ("unknown_format", "unreadable", "csv_header")
"""Reasons that no release can end (`not_a_file` has no bytes, so it is no edition)."""
RECORD_RULES = {rule.__name__ for rules in DEPENDENCIES.values() for rule, _ in rules}


class Refused(Exception):
    """An act that names nothing it can act on."""


class Reading(NamedTuple):
    """What is in a file, or why it cannot be read as it is."""

    events: list[Event]
    refused: int
    hold: str | None = None


@dataclass(eq=False)
class Edition:
    """One content that a path has had, the manifest last seen beside it, and what people said about it."""

    path: str
    data: bytes
    manifest: bytes | None = None
    withdrawn: bool = False
    released: bool = False
    dated: date | None = None
    """The date that a release gave it."""
    status: str = "superseded"
    reason: str | None = None

    @property
    def date(self) -> date | None:
        """Return its business date."""
        return business_date(self.path) or self.dated

    @property
    def plain(self) -> bytes | None:
        """Return its uncompressed bytes; None when there is no telling."""
        return uncompressed(self.path, self.data)

    @property
    def reading(self) -> Reading:
        """Return what is in it; a released one is read as it is."""
        return reading(self.path, self.data, self.released)


@dataclass
class History:
    """What came and what people did, in that order: each delivery and manifest as a run saw it."""

    hold_above: float = 0.5
    max_expanded: int | None = None
    editions: dict[str, list[Edition]] = field(default_factory=dict)
    """By path, the last one last."""
    manifests: dict[str, bytes] = field(default_factory=dict)

    # --- what came -------------------------------------------------------------------------------------------------------

    def deliver(self, path: str, data: bytes) -> None:
        """Take in a file as it lies in the inbox; bytes that the path has had before are its last edition again."""
        if not is_drop(path):
            return
        data = delivered(path, data)
        of_path = self.editions.setdefault(path, [])
        had = [edition for edition in of_path if edition.data == data]
        edition = had[0] if had else Edition(path, data)
        edition.manifest = self.manifests.get(path, edition.manifest)
        of_path[:] = [*(each for each in of_path if each is not edition), edition]

    def manifest(self, path: str, data: bytes) -> None:
        """Take in a manifest as it lies beside the file of that path; the journal has none."""
        if is_journal(path):
            return
        self.manifests[path] = data
        if path in self.editions:
            self.editions[path][-1].manifest = data

    # --- what people did -------------------------------------------------------------------------------------------------

    def withdraw(self, target: str | date) -> None:
        """Take out the last edition of a path, or every drop of a date."""
        for edition in self._named(target):
            edition.withdrawn = True

    def rerun(self, target: str | date) -> None:
        """Decide again, which changes nothing; of a path, undo its withdrawal."""
        self._named(target)
        if isinstance(target, str):
            self.judge()
            undone = [edition for edition in self.editions[target] if edition.status == "withdrawn"]
            for edition in undone:
                for other in self._alike(edition):
                    other.withdrawn = False

    def release(self, path: str, day: date | None = None) -> None:
        """Accept the held edition of a path as it is."""
        (edition,) = self._named(path)
        self.judge()
        if edition.status != "held" or edition.reason in FINAL or (day is None) != (business_date(path) is not None):
            raise Refused(path)
        edition.released, edition.dated = True, day

    def _named(self, target: str | date) -> list[Edition]:
        """Return the last edition of a path; of a date, the last of each path that has it (the candidate, when the last has not)."""
        if isinstance(target, str):
            found = self.editions.get(target, [])[-1:]
        else:
            pairs = {path: [of_path[-1]] for path, of_path in self.editions.items()}
            for candidate in self.judge():
                pairs[candidate.path].append(candidate)
            of_date = ([edition for edition in pair if edition.date == target] for pair in pairs.values())
            found = [editions[0] for editions in of_date if editions]
        if not found:
            raise Refused(str(target))
        return found

    def _alike(self, edition: Edition) -> list[Edition]:
        """Return the candidates that go out and come back with one, itself included."""
        return [each for each in self.judge() if each is edition or same_drop(each, edition)]

    # --- what must be ----------------------------------------------------------------------------------------------------

    def judge(self) -> list[Edition]:
        """Give every edition its status and reason; return the candidate of each path: its last edition that is not held.

        Dates are taken in order, since what is held for its bytes hangs on earlier dates only.
        """
        for edition in self._all():
            edition.status, edition.reason = "superseded", "superseded_by"
        candidates: list[Edition] = []
        for day in sorted({day_of(edition) for edition in self._all()}):
            standing = [self._candidate(path, candidates) for path in sorted(self.editions, key=path_key)]
            of_day = [edition for edition in standing if edition and day_of(edition) == day]
            for edition in of_day:
                alike = [each for each in of_day if each is edition or same_drop(each, edition)]
                if any(each.withdrawn for each in alike):
                    edition.status, edition.reason = "withdrawn", None
                elif alike[0] is edition:
                    edition.status, edition.reason = "applied", None
                else:
                    edition.status, edition.reason = "duplicate", "duplicate_of"
            candidates += of_day
        for of_path in self.editions.values():
            if reason := self._held(of_path[-1], candidates):
                of_path[-1].status, of_path[-1].reason = "held", reason
        return candidates

    def _candidate(self, path: str, earlier: list[Edition]) -> Edition | None:
        return next((edition for edition in reversed(self.editions[path]) if not self._held(edition, earlier)), None)

    def _held(self, edition: Edition, candidates: list[Edition]) -> str | None:
        """Return why an edition is held, if it is; `candidates`: those of all earlier dates, at least."""
        if edition.withdrawn:
            return None
        own = self._own_hold(edition)
        if own or edition.released or is_journal(edition.path) or len(edition.reading.events) < ENOUGH:
            return own
        same = (
            each for each in candidates if each.status == "applied" and each.plain == edition.plain and not is_journal(each.path)
        )
        return "same_bytes_other_date" if any(day_of(each) < day_of(edition) for each in same) else None

    def _own_hold(self, edition: Edition) -> str | None:
        """Return the first reason to hold an edition that lies in itself."""
        events, refused, hold = edition.reading
        found = {hold}
        if edition.date is None:
            found.add("no_business_date")
        if not edition.released and not is_journal(edition.path):
            if self.max_expanded is not None and len(edition.plain or b"") > self.max_expanded:
                found.add("too_large")
            if edition.manifest is not None and not keeps(edition, edition.manifest):
                found.add("manifest_mismatch")
            if len(events) >= ENOUGH and refused > self.hold_above * len(events):
                found.add("too_many_rejects")
        return next((reason for reason in HOLDS if reason in found), None)

    def _all(self) -> Iterator[Edition]:
        for of_path in self.editions.values():
            yield from of_path

    def living(self) -> dict[str, tuple[date, bytes]]:
        """Return business date and bytes of each path that lives."""
        self.judge()
        return {each.path: (day_of(each), each.data) for each in self._all() if each.status == "applied"}

    def rows(self) -> list[Row]:
        """Return the rows of `drops`, as in `tables()`."""
        return self.tables()["drops"]

    def statuses(self) -> dict[str, list[tuple[str, str | None]]]:
        """Return status and reason of each path's editions, oldest first."""
        self.judge()
        return {path: [(each.status, each.reason) for each in of_path] for path, of_path in self.editions.items()}

    def tables(self) -> Tables:
        """Return every table by the law over the living drops."""
        self.judge()
        drops = [Drop(each.path, each.data, each.date, each.status, each.reason) for each in self._all()]
        for drop, edition in zip(drops, self._all(), strict=True):
            drop.events = edition.reading.events if edition.status == "applied" else []
        return law(drops)


def day_of(edition: Edition) -> date:
    """Return its business date; the undated come last."""
    return edition.date or date.max


def same_drop(one: Edition, other: Edition) -> bool:
    """Tell whether two editions have the same business date and the same uncompressed bytes."""
    if is_journal(one.path) or is_journal(other.path):
        return False  # it is compared with no other drop
    return one.date == other.date and one.plain is not None and one.plain == other.plain


def keeps(edition: Edition, manifest: bytes) -> bool:
    """Tell whether an edition is what its manifest says; one that cannot be understood says nothing that could be kept."""
    try:
        said = json.loads(manifest)
    except ValueError:
        return False
    if not isinstance(said, dict):
        return False
    plain = edition.plain or b""
    lines = plain.count(b"\n") + (plain != b"" and not plain.endswith(b"\n"))
    return said.get("sha256") in (None, hashlib.sha256(edition.data).hexdigest()) and said.get("lines") in (None, lines)


@lru_cache(maxsize=1024)
def uncompressed(path: str, data: bytes) -> bytes | None:
    """Return the uncompressed bytes of a drop; None when it has no format or is damaged."""
    form = re.search(r"\.(?:jsonl|ndjson|csv)(\.gz|\.zst)?$", path)
    try:
        return expand(form[1] or "", data) if form else None
    except Held:
        return None


@lru_cache(maxsize=1024)
def reading(path: str, data: bytes, released: bool) -> Reading:
    """Read a drop; a truncated one only once it is released."""
    try:
        events = read(path, data)
    except Held as held:
        if held.reason != "truncated" or not released:
            return Reading([], 0, held.reason)
        try:
            events = read_as_it_is(path, uncompressed(path, data) or b"")
        except Held as still:
            return Reading([], 0, still.reason)
    return Reading(events, sum(map(fails_alone, events)))


def fails_alone(event: Event) -> bool:
    """Tell whether a record fails a line or event rule; a create's record rules do not count."""
    return any(reason.code not in RECORD_RULES for reason in event_rules(said_by(event)))


def read_as_it_is(path: str, plain: bytes) -> list[Event]:
    """Read a truncated file: the longest beginning of whole lines that reads, and what is left as one record that does not."""
    form = ".csv" if ".csv" in path else ".jsonl"
    ends = [at + 1 for at, byte in enumerate(plain) if byte == ord("\n") and at + 1 < len(plain)]
    for cut in [*reversed(ends), 0]:
        try:
            whole = read(form, plain[:cut])
        except Held as held:
            if held.reason != "truncated":
                raise
            continue
        start = cut or (len(BOM) if plain.startswith(BOM) else 0)
        raw = plain[start:].removesuffix(b"\n")  # of a quote that is never closed, too, the last line end is no content
        raw = raw.removesuffix(b"\r") if plain.endswith(b"\r\n") else raw
        reason = LineReason(what_is_wrong(raw, "malformed_json" if form == ".jsonl" else "ragged_row"))
        return [*whole, Event(plain[:cut].count(b"\n") + 1, start, len(raw), raw, reason=reason)]
    raise AssertionError("no beginning of the file reads, not even the empty one")


def what_is_wrong(raw: bytes, otherwise: str) -> str:
    """Return the first line reason of a record that ends too early."""
    if len(raw) > LONGEST_LINE:
        return "line_too_long"
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "invalid_encoding"
    return otherwise
