"""The strings of many JSON lines at once, and proof that what stands between them makes JSON of nested objects and scalars. Pure.

Only for lines without backslashes and control characters: there every quote opens or closes a string, and between two strings
stands one of a few gaps: `: ` and `, `, or a scalar, braces and a comma around it. Arrays, and white space elsewhere, are not
proven.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.textviews import Buffer, Flags, Ints, Lines, Words, word

STRING, NUMBER, BOOLEAN, OBJECT, NOTHING = range(5)
"""Kinds of values; NOTHING is an explicit null."""

_QUOTE, _BACKSLASH, _SPACE, _COLON, _COMMA, _OPEN, _CLOSE = (ord(mark) for mark in '"\\ :,{}')
_FIRST_PRINTABLE = 0x20
_DEEPEST = 3
_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"


@dataclass(frozen=True, slots=True)
class Gaps:
    """The gaps that hold more than a colon or a comma, one entry a gap."""

    before: Ints
    """The string that it follows."""
    good: Flags
    opens: Flags
    """An object opens, and its first key follows: `: {`."""
    empty: Flags
    """An empty object: `: {}`."""
    starts: Ints
    """Of the scalar or empty object in it, if there is one."""
    ends: Ints
    """Where the scalar ends; there the first closing brace stands, if there is one."""
    closes: Ints
    """How many objects close, an empty one aside."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The strings of some lines in their order, one entry a string."""

    buffer: Buffer
    opens: Ints
    closes: Ints
    """Places of the quotes."""
    firsts: Ints
    """Per line its first string."""
    counts: Ints
    """Per line how many."""
    is_key: Flags
    before_string: Flags
    """A key whose value is the next string."""
    depth: Ints
    """In how many objects the string stands."""
    gaps: Gaps
    proven: Flags
    """Per line: it is JSON, an object with objects at most three levels deep, and no array."""

    def per_line(self, flags: Flags) -> Flags:
        """Return per line whether any of its strings is flagged."""
        return np.logical_or.reduceat(flags, self.firsts)

    def text(self, which: Ints, *, skip: int = 0) -> tuple[Words, Ints]:
        """Return the word of strings from their byte `skip` on, and how long they are."""
        starts = self.opens[which] + 1
        lengths = self.closes[which] - starts
        return self.buffer.words(starts, lengths, skip=skip), lengths

    def values(self, keys: Ints) -> tuple[Ints, Ints, Ints]:
        """Return kind, start and length of the values of keys of proven lines; a string is given without its quotes."""
        kinds = np.full(len(keys), STRING)
        following = np.minimum(keys + 1, len(self.opens) - 1)
        starts = self.opens[following] + 1
        lengths = self.closes[following] - starts
        others = np.flatnonzero(~self.before_string[keys])
        gap = np.searchsorted(self.gaps.before, keys[others])
        first, last = self.gaps.starts[gap], self.gaps.ends[gap]
        kind = _scalar_kinds(self.buffer, first, last)
        kind[self.gaps.empty[gap]] = OBJECT
        last = last + self.gaps.empty[gap]
        # An object with members ends at the first brace that closes after it: none is nested in it, or its line is not flat.
        opened = self.gaps.opens[gap]
        closing = np.flatnonzero(self.gaps.closes > 0)
        if opened.any():
            close = closing[np.searchsorted(closing, gap[opened], side="right")]
            last[opened] = self.gaps.ends[close] + 1 + self.gaps.empty[close]
            kind[opened] = OBJECT
        kinds[others], starts[others], lengths[others] = kind, first, last - first
        return kinds, starts, lengths


def whole_strings(buffer: Buffer, lines: Lines, rows: Ints, *, at_least: int = 1) -> tuple[Ints, Ints, Ints]:
    """Return those of the lines where each quote opens or closes one of `at_least` strings, their quotes, and how many each has.

    These are the lines with an even number of quotes, no backslash and no control character.
    """
    if not len(rows):
        return rows, rows, rows
    low, high = int(lines.starts[rows[0]]), int(lines.nexts[rows[-1]])
    window = buffer.array[low:high]
    quotes = np.flatnonzero(window == _QUOTE) + low
    of_row = slice(int(rows[0]), int(rows[-1]) + 1)
    begins = np.searchsorted(quotes, lines.starts[of_row])
    counts = np.diff(np.append(begins, len(quotes)))
    good = np.zeros(len(counts), dtype=np.bool_)
    good[rows - of_row.start] = True
    good &= (counts % 2 == 0) & (counts >= 2 * at_least)
    strange = np.flatnonzero(((window < _FIRST_PRINTABLE) & (window != ord("\n"))) | (window == _BACKSLASH)) + low
    on = lines.of_places(strange)
    good[on[strange < lines.ends[on]] - of_row.start] = False
    return np.flatnonzero(good) + of_row.start, quotes[np.repeat(good, counts)], counts[good]


def tokens(buffer: Buffer, starts: Ints, ends: Ints, quotes: Ints, counts: Ints) -> Tokens:
    """Return the strings of lines that have an even number of quotes each, two or more.

    `quotes` are the quotes of these lines alone, `counts` how many each line has.
    """
    text = buffer.array
    opens, closes = quotes[0::2], quotes[1::2]
    counts = counts // 2
    lasts = np.cumsum(counts) - 1
    firsts = lasts - counts + 1
    gap_starts, gap_ends = closes + 1, np.empty_like(closes)
    gap_ends[:-1] = opens[1:]
    gap_ends[lasts] = ends
    mark = text[gap_starts]
    is_key = mark == _COLON
    length = gap_ends - gap_starts
    simple = (is_key | (mark == _COMMA)) & ((length == 1) | ((length == 2) & (text[gap_starts + 1] == _SPACE)))
    simple[lasts] = False
    others = np.flatnonzero(~simple)
    is_last = np.zeros(len(opens), dtype=np.bool_)
    is_last[lasts] = True
    gaps = _gaps(buffer, others, gap_starts[others], gap_ends[others], after_key=is_key[others], is_last=is_last[others])

    before_string = simple & is_key
    follows_key = np.zeros(len(opens), dtype=np.bool_)
    follows_key[1:] = before_string[:-1]
    astray = is_key == follows_key
    astray[gaps.before[~gaps.good]] = True
    change = np.zeros(len(opens), dtype=np.int64)
    change[gaps.before] = gaps.opens - gaps.closes
    reached = np.cumsum(change)
    depth = 1 + reached - change
    depth -= np.repeat(depth[firsts] - 1, counts)
    astray |= (depth < 1) | (depth > _DEEPEST)
    proven = (depth[lasts] + change[lasts] == 0) & (text[starts] == _OPEN) & (opens[firsts] == starts + 1)
    proven &= ~np.logical_or.reduceat(astray, firsts)
    return Tokens(buffer, opens, closes, firsts, counts, is_key, before_string, depth, gaps, proven)


def are_flat_objects(texts: pl.Series) -> Flags:
    """Return which texts, free of line feeds and nulls, are proven to be JSON objects; not all that are one can be."""
    buffer = Buffer.of("\n".join(texts).encode())
    lines = Lines.of(buffer)
    proven = (texts == "{}").to_numpy().copy()
    rows, quotes, counts = whole_strings(buffer, lines, np.arange(len(lines.starts)))
    if len(rows):
        proven[rows] = tokens(buffer, lines.starts[rows], lines.ends[rows], quotes, counts).proven
    return proven


def _gaps(buffer: Buffer, before: Ints, starts: Ints, ends: Ints, *, after_key: Flags, is_last: Flags) -> Gaps:
    """Take gaps apart: colon, scalar or opening brace, closing braces, comma."""
    text = buffer.array
    first = starts + after_key
    first = first + (after_key & (text[first] == _SPACE))
    spaced = ~is_last & (text[ends - 1] == _SPACE)
    last = ends - spaced
    comma = ~is_last & (text[last - 1] == _COMMA)
    last = last - comma
    closes = np.zeros(len(before), dtype=np.int64)
    for _ in range(_DEEPEST + 1):
        closing = (last > first) & (text[last - 1] == _CLOSE)
        last = last - closing
        closes += closing
    brace = after_key & (last - first == 1) & (text[first] == _OPEN)
    opens = brace & (closes == 0) & ~comma & ~spaced & ~is_last
    empty = brace & (closes > 0)
    scalar = after_key & ~brace & (last > first)
    scalar[scalar] = _scalar_kinds(buffer, first[scalar], last[scalar]) >= 0
    nothing = ~after_key & (last == first) & (closes > 0)
    good = opens | ((empty | scalar | nothing) & (is_last | comma))
    return Gaps(before, good, opens, empty, first, last, closes - empty)


def _scalar_kinds(buffer: Buffer, starts: Ints, ends: Ints) -> Ints:
    """Return the kinds of scalars, -1 for what is none."""
    lengths = ends - starts
    words = buffer.words(starts, lengths)
    kinds = np.full(len(starts), -1)
    for literal, kind in (("true", BOOLEAN), ("false", BOOLEAN), ("null", NOTHING)):
        kinds[(words == word(literal)) & (lengths == len(literal))] = kind
    rest = np.flatnonzero(kinds < 0)
    if len(rest):
        numeric = buffer.column(starts[rest], lengths[rest]).str.contains(_NUMBER)
        kinds[rest[numeric.to_numpy()]] = NUMBER
    return kinds
