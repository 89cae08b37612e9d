"""What reading gives: sheets of raw events, unread lines and filler, as docs/design.md says. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import polars as pl

from validation.entities import ENTITIES

PLACE = {"line": pl.Int64(), "byte_offset": pl.Int64(), "byte_length": pl.Int64(), "byte_span": pl.Int64()}
"""Where a record stands: its first line, its first byte, its bytes without its line end, and with it."""
UNKNOWN = pl.List(pl.Struct({"name": pl.String(), "value": pl.String()}))
UNREAD: dict[str, pl.DataType] = {**PLACE, "code": pl.String(), "category": pl.String(), "value": pl.String()}
FILLER: dict[str, pl.DataType] = {"byte_offset": pl.Int64(), "byte_span": pl.Int64(), "kind": pl.String()}

MAX_RECORD = 1024 * 1024
"""A record with more bytes than this, its line end not counted, is `line_too_long`."""

_MANY = 10_000

Place = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What some bytes of a drop say."""

    sheets: dict[str, pl.DataFrame]
    """A sheet a category, of the categories that occur."""
    unread: pl.DataFrame
    """Records with a line reason: line, byte_offset, byte_length, byte_span, code, category, value."""
    filler: pl.DataFrame
    """Bytes that belong to no record: byte_offset, byte_span, kind (`bom`, `header`, `blank`)."""

    @property
    def frames(self) -> tuple[pl.DataFrame, ...]:
        """All of it: every frame has byte_offset and byte_span."""
        return (*self.sheets.values(), self.unread, self.filler)

    @property
    def span(self) -> int:
        """How many bytes its records, line ends included, and its filler have."""
        return sum(int(frame["byte_span"].sum()) for frame in self.frames)

    def each(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Chunk:
        """Return the chunk with every frame changed."""
        sheets = {category: change(sheet) for category, sheet in self.sheets.items()}
        return Chunk(sheets, change(self.unread), change(self.filler))


@dataclass(frozen=True, slots=True)
class Event:
    """An event as sent, for one row of its category's sheet."""

    category: str
    texts: dict[str, str | None]
    """Text by spelling; a spelling that is not sent has no entry, an explicit null is None."""
    wrong: tuple[str, ...]
    """Spellings whose value has another type than their field wants."""
    unknown: tuple[tuple[str, str | None], ...]
    channel: str | None = None
    """The channel of its envelope where that is honoured."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A record with a line reason."""

    code: str
    category: str | None = None
    value: str | None = None


@cache
def sheet_schema(category: str) -> dict[str, pl.DataType]:
    """Return the columns of a category's sheet."""
    spellings = {name: pl.String() for name in ENTITIES[category].spellings}
    masks = {"sent": pl.UInt64(), "wrong": pl.UInt64(), "sure": pl.UInt64(), "odd": pl.Boolean()}
    return {**PLACE, **spellings, **masks, "unknown": UNKNOWN, "channel": pl.String()}


@cache
def _bits(category: str) -> dict[str, int]:
    return {name: 1 << bit for bit, name in enumerate(ENTITIES[category].spellings)}


def sheet_of(category: str, rows: Iterable[tuple[Place, Event]]) -> pl.DataFrame:
    """Return the sheet of events of one category."""
    names, bits = ENTITIES[category].spellings, _bits(category)
    return pl.DataFrame(
        [
            (
                *place,
                *(event.texts.get(name) for name in names),
                sum(bits[name] for name in event.texts),
                sum(bits[name] for name in event.wrong),
                0,
                True,
                [{"name": name, "value": value} for name, value in event.unknown] or None,
                event.channel,
            )
            for place, event in rows
        ],
        schema=sheet_schema(category),
        orient="row",
    )


@dataclass(slots=True)
class Findings:
    """Collects what a reader finds in one block, in any order, and makes the chunk of it."""

    unread: list[tuple[Place, Unread]] = field(default_factory=list)
    filler: list[tuple[int, int, str]] = field(default_factory=list)
    """Offset, span, kind."""
    _events: dict[str, list[tuple[Place, Event]]] = field(default_factory=dict)
    _sheets: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def add(self, place: Place, found: Event | Unread) -> None:
        """Take what a record says."""
        if isinstance(found, Unread):
            self.unread.append((place, found))
            return
        events = self._events.setdefault(found.category, [])
        events.append((place, found))
        if len(events) >= _MANY:  # as objects they take ten times the room that they take as a sheet
            self._shelve(found.category)

    def _shelve(self, category: str) -> None:
        self._sheets.setdefault(category, []).append(sheet_of(category, self._events.pop(category)))

    def chunk(self, plain: Mapping[str, pl.DataFrame] | None = None) -> Chunk:
        """Return everything in the order of the lines; `plain` are sheets that were read in whole columns."""
        for category in list(self._events):
            self._shelve(category)
        exact, plain = self._sheets, plain or {}
        unread = [(*place, found.code, found.category, found.value) for place, found in self.unread]
        return Chunk(
            sheets={
                name: pl.concat([plain[name], *exact[name]] if name in plain else exact[name]).sort("line")
                if name in exact
                else plain[name]
                for name in ENTITIES
                if name in exact or name in plain
            },
            unread=pl.DataFrame(unread, schema=UNREAD, orient="row").sort("line"),
            filler=pl.DataFrame(self.filler, schema=FILLER, orient="row").sort("byte_offset"),
        )
