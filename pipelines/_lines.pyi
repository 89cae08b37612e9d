"""Lines of JSONL and CSV into columns of Arrow string views: what `_lines.c` gives, without a Python object a value."""

from typing import Any

import numpy as np
import numpy.typing as npt

Buffer = npt.NDArray[np.generic[Any]]
"""Its bytes are what is filled."""

Names = tuple[tuple[bytes, int, int], ...]
"""A sheet's spellings in their order, the kind of value each wants, and the form (0: any, 1: e-mail, 2: phone, 3: address)."""
Sheet = tuple[Names, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer]
"""Names, and what is filled, a row an event: rows (int64, the line counted from the first), sent, null, wrong, sure (uint64, bit
i: the i-th name; sure: its text surely has its form), odd (uint8: a text is empty or over 128 bytes, may have white space at an
end, or holds a control character), views (16 bytes each, a run of `room` a name)."""
Category = tuple[bytes, int, bool]
"""A category as it is spelled, the number of its sheet, whether it is the other spelling, which goes with a `kind`."""
Unknown = tuple[int, Buffer, Buffer, Buffer, Buffer, Buffer]
"""Room, and what is filled, a row an unknown field: rows (int64), sheets, null (uint8), names, values (views)."""
Column = tuple[bytes, int]
"""A CSV column's name, and where in the text it stands."""

MAX_COLUMNS: int
"""Of a CSV, at most."""

def scan(
    text: Buffer,
    low: int,
    high: int,
    ascii: bool,
    room: int,
    lines: Buffer,
    left: Buffer,
    categories: tuple[Category, ...],
    sheets: tuple[Sheet, ...],
    unknown: Unknown,
    columns: tuple[Column, ...] | None,
    /,
) -> tuple[int, int, int, tuple[tuple[int, int], ...]]:
    """Read the lines of text[low:high], at most `room`: CSV with `columns`, else JSONL.

    Fills `lines` (int64: starts, ends without line ends, nexts, a run of `room` each), `left` (int64: the lines that are not
    taken) and the sheets. Returns how many lines, lines left and unknown fields there are, and per sheet how many events, and
    which fields (bit i) ever have a text. The text is changed in place where a value is shorter than what was written.
    """

def count_feeds(data: bytes, low: int, high: int, /) -> int:
    """Count the LF in data[low:high], 0 <= low <= high <= len(data): what `count` of bytes gives in a tenth of its time."""
