"""Lines of JSONL read in whole columns: those that can be proven plain; the others are left to the exact reader. Pure.

A plain line is an envelope of `category` and `data` in this order, its keys are spellings of its category, each once, and
`pipelines/jsontokens.py` proves the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.blocks import Block
from pipelines.jsonl import CATEGORIES, KIND_FIELD, OTHER_CATEGORIES
from pipelines.jsontokens import BOOLEAN, NOTHING, NUMBER, OBJECT, STRING, Tokens, quotes_of, tokens, unprintable
from pipelines.plainsheets import Found, plain_sheet
from pipelines.sheets import MAX_RECORD
from pipelines.textviews import ABSENT, MAX_BUFFER, NULL, Buffer, Flags, Ints, Lines, Words, undecodable, word
from validation.entities import ENTITIES

_SLICE = 1024 * 1024
_THREADS = 2
_KINDS = {"string": STRING, "number": NUMBER, "boolean": BOOLEAN, "object": OBJECT}
_ENVELOPE_STRINGS = 3
_DATA_DEPTH = 2
_UNKNOWN = -1
_ORDER = tuple(ENTITIES)


@dataclass(frozen=True, slots=True)
class Plain:
    """What was read in whole columns."""

    sheets: Mapping[str, pl.DataFrame]
    lines: Lines
    left: Ints
    """The lines that are left to the exact reader, counted from 0."""


def read_plain_json(block: Block) -> Plain | None:
    """Return the sheets of a block's plain lines, and which lines are left; None for a block too large to point into."""
    if len(block.data) > MAX_BUFFER:
        return None
    buffer = Buffer.of(block.data)
    lines = Lines.of(buffer)
    fit = ~undecodable(block.data, lines) & (lines.ends - lines.starts <= MAX_RECORD)
    parts = lines.slices(_SLICE)
    with ThreadPoolExecutor(_THREADS) as pool:
        results = pool.map(lambda part: _read_slice(buffer, lines, np.flatnonzero(fit[part]) + part.start), parts)
        found: dict[str, list[Found]] = {}
        for category, one in (item for result in results for item in result.items()):
            found.setdefault(category, []).append(one)
    left = np.ones(len(lines.starts), dtype=np.bool_)
    for one in (one for each in found.values() for one in each):
        left[one.rows] = False
    sheets = {
        category: plain_sheet(category, each, buffer, lines, offset=block.offset, line=block.line)
        for category, each in found.items()
    }
    return Plain(sheets, lines, np.flatnonzero(left))


def _read_slice(buffer: Buffer, lines: Lines, rows: Ints) -> dict[str, Found]:
    """Return what the plain ones of some lines say, by category."""
    rows, quotes, counts = _with_whole_strings(buffer, lines, rows)
    if not len(rows):
        return {}
    read = tokens(buffer, lines.starts[rows], lines.ends[rows], quotes, counts)
    category, other = _categories(read)
    # Once `data` has closed no key may follow: its members and theirs are all deeper than the envelope's.
    at = np.arange(len(read.opens)) - np.repeat(read.firsts, read.counts)
    astray = (read.depth == 1) != (at < _ENVELOPE_STRINGS)
    plain = read.proven & (category != _UNKNOWN) & ~read.per_line(astray)
    found = {}
    for number, name in enumerate(_ORDER):
        chosen = np.flatnonzero(plain & (category == number))
        if len(chosen):
            found[name] = _values(read, name, chosen, other, rows)
    return found


def _with_whole_strings(buffer: Buffer, lines: Lines, rows: Ints) -> tuple[Ints, Ints, Ints]:
    """Return those of the lines where every quote opens or closes a string, all their quotes, and how many each has."""
    if not len(rows):
        return rows, rows, rows
    low, high = int(lines.starts[rows[0]]), int(lines.nexts[rows[-1]])
    quotes = quotes_of(buffer, low, high)
    of_row = slice(int(rows[0]), int(rows[-1]) + 1)
    begins = np.searchsorted(quotes, lines.starts[of_row])
    counts = np.diff(np.append(begins, len(quotes)))
    good = np.zeros(len(counts), dtype=np.bool_)
    good[rows - of_row.start] = True
    good &= (counts % 2 == 0) & (counts >= 2 * _ENVELOPE_STRINGS)
    strange = unprintable(buffer, low, high)
    on = lines.of_places(strange)
    good[on[strange < lines.ends[on]] - of_row.start] = False
    return np.flatnonzero(good) + of_row.start, quotes[np.repeat(good, counts)], counts[good]


def _categories(read: Tokens) -> tuple[Ints, Flags]:
    """Return per line the number of its category, _UNKNOWN when its envelope is not plain, and whether by its other spelling."""
    first = read.firsts
    head, length = read.text(first)
    data, data_length = read.text(first + 2)
    opened = np.zeros(len(read.opens), dtype=np.bool_)
    opened[read.gaps.before] = read.gaps.opens
    good = (head == word("category")) & (length == len("category")) & read.before_string[first]
    good &= (data == word("data")) & (data_length == len("data")) & opened[first + 2]
    name, name_length = read.text(first + 1)
    tail, _ = read.text(first + 1, skip=8)
    category = np.full(len(first), _UNKNOWN)
    other = np.zeros(len(first), dtype=np.bool_)
    for spelled, entity in (*CATEGORIES.items(), *OTHER_CATEGORIES.items()):
        same = good & (name_length == len(spelled)) & (name == word(spelled)) & (tail == word(spelled, skip=8))
        category[same] = _ORDER.index(entity.category)
        other |= same & (spelled in OTHER_CATEGORIES)
    return category, other


def _values(read: Tokens, category: str, chosen: Ints, other: Flags, rows: Ints) -> Found:
    """Return the values of the chosen lines of one category, lines that turn out not to be plain left out."""
    spellings = ENTITIES[category].spellings
    wanted = np.array([_KINDS[ENTITIES[category].field(name).type.json] for name in spellings])
    counts = read.counts[chosen]
    line = np.repeat(np.arange(len(chosen)), counts)
    strings = np.repeat(read.firsts[chosen] - np.cumsum(counts) + counts, counts) + np.arange(len(line))
    member = read.is_key[strings] & (read.depth[strings] == _DATA_DEPTH)
    strings, line = strings[member], line[member]
    bit = NAMES.find(read, strings)
