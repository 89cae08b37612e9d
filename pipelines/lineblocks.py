"""Lines of drops told apart in SQL: a bit a line, in blocks of 1,024 of a path.

To count distinct lines, or to compare two tables' lines, by a group each takes four times as long, and of a large load much
memory. Where most blocks have a line or two it is the other way round, as of codes or fields over a long past: not for these.
"""

from __future__ import annotations

_BITS = 10


def block(line: str = "line") -> str:
    """Return the expression that tells in which block of its path a line is."""
    return f"{line} >> {_BITS}"


def lines(line: str = "line") -> str:
    """Return the aggregate that is the set of a block's lines: the same bits, the same lines. NULL of none."""
    return f"bitstring_agg({line} & {2**_BITS - 1}, 0, {2**_BITS - 1})"


def count_lines(line: str = "line") -> str:
    """Return the aggregate that counts the distinct lines of a block. NULL of none."""
    return f"bit_count({lines(line)})"
