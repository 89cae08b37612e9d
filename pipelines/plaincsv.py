"""Lines of CSV read in whole columns: those that can be proven to be one plain record each. Pure.

A plain line has as many cells as the header, and its quotes, if it has any, stand only around whole cells, or doubled in them.
That a line does not lie within a quoted cell that began on an earlier line is for the caller to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from pipelines.csvs import DEFAULT_CATEGORY, NULL_CELL, NUMBER_CELL, Header
from pipelines.jsonl import CATEGORIES, KIND_FIELD, OTHER_CATEGORIES, json_types
from pipelines.jsontokens import are_flat_objects
from pipelines.plainsheets import Found, ReadLines, undoubled
from pipelines.textviews import ABSENT, NULL, Buffer, Flags, Ints, Lines, mask, word
from validation.entities import ENTITIES

_QUOTE, _COMMA, _RETURN = (ord(mark) for mark in '",\r')
_LOWER = np.uint64(0x2020202020202020)
_CATEGORY = "category"
_UNREAD = -1
_ORDER = tuple(ENTITIES)


def csv_lines_under(header: Header) -> ReadLines:
    """Return the function that reads lines under a header."""
    return partial(_read_lines, header)


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of some lines: a row a column of the header, a column a line."""

    buffer: Buffer
    starts: Ints
    lengths: Ints
    """ABSENT for an empty cell, NULL for an explicit null."""

    def column(self, at: int | None, lines: Ints) -> tuple[Ints, Ints]:
        """Return starts and lengths of one column's cells; absent ones for a column that is not there."""
        if at is None:
            return np.zeros(len(lines), dtype=np.int64), np.full(len(lines), ABSENT)
        return self.starts[at, lines], self.lengths[at, lines]

    def says(self, at: int | None, lines: Ints, text: str) -> Flags:
        """Return in which lines a column's cell says `text`, of at most 16 bytes."""
        starts, lengths = self.column(at, lines)
        there = np.maximum(lengths, 0)
        same: Flags = (lengths == len(text)) & (self.buffer.words(starts, there) == word(text))
        same &= self.buffer.words(starts, there, skip=8) == word(text, skip=8)
        return same


def _read_lines(header: Header, buffer: Buffer, lines: Lines, rows: Ints) -> dict[str, Found]:
    """Return what the plain ones of some UTF-8 lines say, by category."""
    rows, separators = _whole_records(buffer, lines, rows, len(header.columns))
    if not len(rows):
        return {}
    cells = _cells(buffer, lines.starts[rows], lines.ends[rows], separators)
    category, other = _categories(cells, header, len(rows))
    found = {}
    for number, name in enumerate(_ORDER):
        chosen = np.flatnonzero(category == number)
        if len(chosen):
            found[name] = _values(cells, header, name, chosen, rows=rows[chosen], with_kind=other[chosen])
    return found


def _whole_records(buffer: Buffer, lines: Lines, rows: Ints, columns: int) -> tuple[Ints, Ints]:
    """Return the lines that are whole records of that many cells, and the commas that part the cells of all of them."""
    if not len(rows):
        return rows, rows
    some = slice(int(rows[0]), int(rows[-1]) + 1)
    starts, ends = lines.starts[some], lines.ends[some]
    low, high = int(starts[0]), int(lines.nexts[rows[-1]])
    window = buffer.array[low:high]
    good = np.zeros(len(starts), dtype=np.bool_)
    good[rows - some.start] = True

    returns = np.flatnonzero(window == _RETURN) + low
    on = np.searchsorted(starts, returns, side="right") - 1
    good[on[returns < ends[on]]] = False
    commas = np.flatnonzero(window == _COMMA) + low
    quotes = np.flatnonzero(window == _QUOTE) + low
    if len(quotes):
        begins = np.searchsorted(quotes, starts)
        counts = np.diff(np.append(begins, len(quotes)))
        good &= (counts % 2 == 0) & ~_astray_quotes(buffer, quotes, counts, starts, ends)
        # Sums of bytes go round at 256, which is even: whether a quote is open at a comma is left untouched.
        odd = np.cumsum(window == _QUOTE, dtype=np.uint8) & 1
        before = np.where(starts > low, odd[np.maximum(starts - low - 1, 0)], 0)
        line = np.searchsorted(starts, commas, side="right") - 1
        commas = commas[odd[commas - low] == before[line]]
    begins = np.searchsorted(commas, starts)
    counts = np.diff(np.append(begins, len(commas)))
    good &= counts == columns - 1
    return np.flatnonzero(good) + some.start, commas[np.repeat(good, counts)]


def _astray_quotes(buffer: Buffer, quotes: Ints, counts: Ints, starts: Ints, ends: Ints) -> Flags:
    """Return which lines have a quote that does not stand at the edge of a cell."""
    line = np.repeat(np.arange(len(starts)), counts)
    begins = np.cumsum(counts) - counts
    opening = (np.arange(len(quotes)) - begins[line]) % 2 == 0
    # A quote that closes and one that opens right behind it are one doubled quote within a cell.
    doubled = np.zeros(len(quotes), dtype=np.bool_)
    doubled[1:] = opening[1:] & (quotes[1:] == quotes[:-1] + 1) & (line[1:] == line[:-1])
    doubled[:-1] |= doubled[1:]
    at_start = (quotes == starts[line]) | (buffer.array[quotes - 1] == _COMMA)
    at_end = (quotes + 1 == ends[line]) | (buffer.array[quotes + 1] == _COMMA)
    astray = np.zeros(len(starts), dtype=np.bool_)
    astray[line[~(doubled | np.where(opening, at_start, at_end))]] = True
    return astray


def _cells(buffer: Buffer, starts: Ints, ends: Ints, separators: Ints) -> _Cells:
    between = separators.reshape(len(starts), -1).T
    firsts = np.vstack([starts, between + 1])
    lasts = np.vstack([between, ends])
    quoted = (buffer.array[firsts] == _QUOTE) & (lasts > firsts)
    firsts, lasts = firsts + quoted, lasts - quoted
    lengths = lasts - firsts
    two = lengths == len(NULL_CELL)
    null = np.zeros_like(two)
    null[two] = buffer.words(firsts[two], lengths[two]) == word(NULL_CELL)
    lengths[lengths == 0] = ABSENT
    lengths[null] = NULL
    return _Cells(buffer, firsts, lengths)


def _categories(cells: _Cells, header: Header, count: int) -> tuple[Ints, Flags]:
    """Return per line the number of its category, _UNREAD when the exact reader is to say, and whether by its other spelling."""
    every = np.arange(count)
    at = header.places.get(_CATEGORY)
    category = np.full(count, _UNREAD)
    other = np.zeros(count, dtype=np.bool_)
    category[cells.column(at, every)[1] < 0] = _ORDER.index(DEFAULT_CATEGORY)
    for spelled, entity in (*CATEGORIES.items(), *OTHER_CATEGORIES.items()):
        same = cells.says(at, every, spelled)
        category[same] = _ORDER.index(entity.category)
        other |= same & (spelled in OTHER_CATEGORIES)
    kind = header.places.get(KIND_FIELD)
    category[other & ~((cells.column(kind, every)[1] < 0) | cells.says(kind, every, "loan"))] = _UNREAD
    return category, other


def _values(cells: _Cells, header: Header, category: str, chosen: Ints, *, rows: Ints, with_kind: Flags) -> Found:
    """Return the values of the chosen lines of one category, lines that turn out not to be plain left out."""
    wanted = json_types(category)
    shape = (len(wanted), len(chosen))
    starts, lengths = np.zeros(shape, dtype=np.int32), np.full(shape, ABSENT, dtype=np.int32)
    wrong = np.zeros(len(chosen), dtype=np.uint64)
    keep = np.ones(len(chosen), dtype=np.bool_)
    for bit, (name, type_) in enumerate(wanted.items()):
        at = header.places.get(name)
        if at is None:
            continue
        first, length = cells.column(at, chosen)
        there = np.flatnonzero(length > 0)
        if type_ == "number":
            fits = cells.buffer.column(first[there], length[there]).str.contains(f"^(?:{NUMBER_CELL})$").to_numpy()
            wrong[there[~fits]] |= np.uint64(1 << bit)
        elif type_ == "boolean":
            first[there], fits = _booleans(cells.buffer, first[there], length[there])
            wrong[there[~fits]] |= np.uint64(1 << bit)
        elif type_ == "object":
            texts = undoubled(cells.buffer.column(first[there], length[there]))
            keep[there[~are_flat_objects(texts)]] = False
        starts[bit], lengths[bit] = first, length
    unknown = _unknown(cells, header, category, chosen, rows=rows, with_kind=with_kind)
    return Found(rows, starts, lengths, wrong, unknown).only(keep)


def _booleans(buffer: Buffer, starts: Ints, lengths: Ints) -> tuple[Ints, Flags]:
    """Return where `true` and `false` stand in lower case, for cells that say so in any case, and which cells do."""
    words = buffer.words(starts, lengths)
    lower = words | (_LOWER & mask(lengths))
    true = (lower == word("true")) & (lengths == len("true"))
    false = (lower == word("false")) & (lengths == len("false"))
    return np.where(true, buffer.true, np.where(false, buffer.false, starts)), true | false


def _unknown(cells: _Cells, header: Header, category: str, chosen: Ints, *, rows: Ints, with_kind: Flags) -> pl.DataFrame | None:
    """Return the unknown fields as row, name, value, or None when there is none."""
    parts = []
    for name, at in header.unknown[category].items():
        starts, lengths = cells.column(at, chosen)
        there = np.flatnonzero((lengths != ABSENT) & ~(with_kind & (name == KIND_FIELD)))
        if len(there):
            value = undoubled(cells.buffer.column(starts[there], lengths[there]))
            parts.append(pl.DataFrame({"row": rows[there], "name": [name] * len(there), "value": value}))
    return pl.concat(parts) if parts else None
