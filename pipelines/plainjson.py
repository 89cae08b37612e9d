"""Lines of JSONL read in whole columns: those that can be proven plain; the others are left to the exact reader. Pure.

A plain line is an envelope of `category` and `data` in this order, its keys are spellings of its category, each once, and
`pipelines/jsontokens.py` proves the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
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
    strings, line = _members(read, chosen)
    names = NAMES.find(read, strings)
    bits = NAMES.bits(category)[names]
    bad = np.zeros(len(chosen), dtype=np.bool_)
    strange = np.flatnonzero(bits == _UNKNOWN)
    if len(strange):
        read_as_kind = (names[strange] == NAMES.kind) & other[chosen][line[strange]] & _says_loan(read, strings[strange])
        bad[line[strange[~read_as_kind]]] = True
        known = bits != _UNKNOWN
        strings, line, bits = strings[known], line[known], bits[known]

    kinds, starts, lengths = read.values(strings)
    wanted = np.array([_KINDS[ENTITIES[category].field(name).type.json] for name in ENTITIES[category].spellings])
    lengths[kinds == NOTHING] = NULL
    wrong = (kinds != wanted[bits]) & (kinds != NOTHING)
    # White space is taken out of a whole column of objects at once, so nothing else may stand there, and they nowhere else.
    bad[line[wrong & ((kinds == OBJECT) | (wanted[bits] == OBJECT))]] = True

    shape = (len(wanted), len(chosen))
    start_of, length_of = np.zeros(shape, dtype=np.int32), np.full(shape, ABSENT, dtype=np.int32)
    start_of[bits, line], length_of[bits, line] = starts, lengths
    wrong_bits = np.zeros(len(chosen), dtype=np.uint64)
    np.bitwise_or.at(wrong_bits, line[wrong], np.uint64(1) << bits[wrong].astype(np.uint64))
    doubled = np.bincount(line, minlength=len(chosen)) != np.count_nonzero(length_of != ABSENT, axis=0)
    keep = ~bad & ~doubled
    return Found(rows[chosen[keep]], start_of[:, keep], length_of[:, keep], wrong_bits[keep])


def _members(read: Tokens, chosen: Ints) -> tuple[Ints, Ints]:
    """Return the keys under `data` of the chosen lines, and of which of them each is."""
    counts = read.counts[chosen]
    line = np.repeat(np.arange(len(chosen)), counts)
    strings = np.repeat(read.firsts[chosen] - np.cumsum(counts) + counts, counts) + np.arange(len(line))
    member = read.is_key[strings] & (read.depth[strings] == _DATA_DEPTH)
    return strings[member], line[member]


def _says_loan(read: Tokens, keys: Ints) -> Flags:
    """Return for which keys the value is null or the string `loan`."""
    kinds, starts, lengths = read.values(keys)
    loan = (kinds == STRING) & (lengths == len("loan")) & (read.buffer.words(starts, lengths) == word("loan"))
    says: Flags = loan | (kinds == NOTHING)
    return says


class _Names:
    """All spellings of all categories, found by a hash that has no collision among them."""

    _BITS = 12

    def __init__(self, names: Sequence[str]) -> None:
        self.kind = names.index(KIND_FIELD)
        self._names = names
        self._words = [np.array([word(name, skip=skip) for name in names], dtype=np.uint64) for skip in _NAME_WORDS]
        self._lengths = np.array([len(name) for name in names])
        for factor in range(0x9E3779B97F4A7C15, 2**64, 2):
            self._factor = np.uint64(factor)
            places = self._hash(self._words)
            if len(set(places.tolist())) == len(names):
                break
        self._table = np.zeros(1 << self._BITS, dtype=np.int64)
        self._table[places] = np.arange(len(names))

    def _hash(self, words: Sequence[Words]) -> Ints:
        mixed = words[0] ^ (words[1] * np.uint64(3)) ^ (words[2] * np.uint64(5))
        places: Ints = ((mixed * self._factor) >> np.uint64(64 - self._BITS)).astype(np.int64)
        return places

    def find(self, read: Tokens, strings: Ints) -> Ints:
        """Return the number of each key's name, the number behind the last one for a key that is none."""
        texts = [read.text(strings, skip=skip) for skip in _NAME_WORDS]
        number = self._table[self._hash([words for words, _ in texts])]
        same = texts[0][1] == self._lengths[number]
        for (words, _), wanted in zip(texts, self._words, strict=True):
            same &= words == wanted[number]
        return np.where(same, number, len(self._names))

    def bits(self, category: str) -> Ints:
        """Return per number of a name its place among the spellings of a category, _UNKNOWN when it is none of them."""
        spellings = ENTITIES[category].spellings
        return np.array([spellings.index(name) if name in spellings else _UNKNOWN for name in self._names] + [_UNKNOWN])


_NAME_WORDS = (0, 8, 16)
NAMES = _Names([*dict.fromkeys(name for entity in ENTITIES.values() for name in (*entity.spellings, KIND_FIELD))])
