"""Lines of JSONL read in whole columns: those that can be proven plain; the others are left to the exact reader. Pure.

A plain line is an envelope of `category` and `data` in this order, no key comes twice in either, and
`pipelines/jsontokens.py` proves the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipelines.jsonl import CATEGORIES, KIND_FIELD, OTHER_CATEGORIES, json_types
from pipelines.jsontokens import BOOLEAN, NOTHING, NUMBER, OBJECT, STRING, Tokens, tokens, whole_strings
from pipelines.plainsheets import Found
from pipelines.textviews import ABSENT, NULL, Buffer, Flags, Ints, Lines, Words, word
from validation.entities import ENTITIES

_KINDS = {"string": STRING, "number": NUMBER, "boolean": BOOLEAN, "object": OBJECT}
_ENVELOPE_STRINGS = 3
_DATA_DEPTH = 2
_UNKNOWN = -1
_ORDER = tuple(ENTITIES)


def read_json_lines(buffer: Buffer, lines: Lines, rows: Ints) -> dict[str, Found]:
    """Return what the plain ones of some UTF-8 lines say, by category."""
    rows, quotes, counts = whole_strings(buffer, lines, rows, at_least=_ENVELOPE_STRINGS)
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
    unknown = None
    if len(strange):
        as_kind = (names[strange] == NAMES.kind) & other[chosen][line[strange]]
        unknown, unfit = _unknown(read, strings[strange], rows[chosen][line[strange]], as_kind)
        bad[line[strange[unfit]]] = True
        known = bits != _UNKNOWN
        strings, line, bits = strings[known], line[known], bits[known]

    kinds, starts, lengths = read.values(strings)
    wanted = np.array([_KINDS[type_] for type_ in json_types(category).values()])
    lengths[kinds == NOTHING] = NULL
    wrong = (kinds != wanted[bits]) & (kinds != NOTHING)
    bad[line[wrong & (kinds == OBJECT)]] = True  # its text may need its white space taken out

    shape = (len(wanted), len(chosen))
    start_of, length_of = np.zeros(shape, dtype=np.int32), np.full(shape, ABSENT, dtype=np.int32)
    start_of[bits, line], length_of[bits, line] = starts, lengths
    wrong_bits = np.zeros(len(chosen), dtype=np.uint64)
    np.bitwise_or.at(wrong_bits, line[wrong], np.uint64(1) << bits[wrong].astype(np.uint64))
    doubled = np.bincount(line, minlength=len(chosen)) != np.count_nonzero(length_of != ABSENT, axis=0)
    return Found(rows[chosen], start_of, length_of, wrong_bits, unknown).only(~bad & ~doubled)


def _members(read: Tokens, chosen: Ints) -> tuple[Ints, Ints]:
    """Return the keys under `data` of the chosen lines, and of which of them each is."""
    counts = read.counts[chosen]
    line = np.repeat(np.arange(len(chosen)), counts)
    strings = np.repeat(read.firsts[chosen] - np.cumsum(counts) + counts, counts) + np.arange(len(line))
    member = read.is_key[strings] & (read.depth[strings] == _DATA_DEPTH)
    return strings[member], line[member]


def _unknown(read: Tokens, keys: Ints, rows: Ints, as_kind: Flags) -> tuple[pl.DataFrame, Flags]:
    """Return the unknown fields as row, name, value, and which of these keys make their line one that is not plain."""
    kinds, starts, lengths = read.values(keys)
    loan = (kinds == STRING) & (lengths == len("loan")) & (read.buffer.words(starts, lengths) == word("loan"))
    unfit: Flags = np.where(as_kind, ~loan & (kinds != NOTHING), kinds == OBJECT)
    lengths[kinds == NOTHING] = NULL
    names = read.opens[keys] + 1
    fields = pl.DataFrame(
        {
            "row": rows,
            "name": read.buffer.column(names, read.closes[keys] - names),
            "value": read.buffer.column(starts, lengths),
        }
    )
    if (rows[1:] == rows[:-1]).any():
        unfit |= fields.select(pl.struct("row", "name").is_duplicated()).to_series().to_numpy()
    return fields.filter(pl.Series(~as_kind)), unfit


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
