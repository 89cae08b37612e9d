"""How a source writes its CSV: delimiter, encoding, names of columns, and cells that every row has unsaid. Pure.

Lines end in LF whatever the encoding, so only encodings of one byte a character that hold ASCII are taken, and UTF-8.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

_ONE_BYTE = bytes(range(128, 256))
_ASCII = bytes(range(128))


@dataclass(frozen=True, slots=True)
class Dialect:
    """How CSV is written."""

    delimiter: str = ","
    encoding: str = "utf-8"
    columns: tuple[tuple[str, str], ...] = ()
    """Columns that are called otherwise in the file: the file's name, ours."""
    constants: tuple[tuple[str, str], ...] = ()
    """Cells that every row has though no column says them: our name, the cell."""

    @property
    def is_plain(self) -> bool:
        """Tell whether rows lie in the file as the contract's section 3 has them; columns may be called otherwise."""
        return self.delimiter == "," and self.encoding == "utf-8" and not self.constants

    @property
    def renamed(self) -> dict[str, str]:
        """Return our name of each column that is called otherwise."""
        return dict(self.columns)


PLAIN = Dialect()


def encoding_named(name: str) -> str:
    """Return the one name of an encoding; raises ValueError when it is none, or none in which lines can be found."""
    try:
        found = codecs.lookup(name).name
        by_byte = found.removesuffix("-sig") == "utf-8" or (
            _ASCII.decode(found) == _ASCII.decode("ascii") and len(_ONE_BYTE.decode(found, "replace")) == len(_ONE_BYTE)
        )
    except (LookupError, UnicodeError, TypeError, ValueError):
        raise ValueError("no encoding of that name that holds ASCII as it is") from None
    if not by_byte:
        raise ValueError("an encoding of several bytes a character")
    return found.removesuffix("-sig")


def delimiter_named(delimiter: str) -> str:
    """Return a delimiter that can be told from what stands in cells; raises ValueError for another one."""
    if delimiter != "\t" and (len(delimiter) != 1 or not "!" <= delimiter <= "~" or delimiter.isalnum() or delimiter in '"\\'):
        raise ValueError("no delimiter")
    return delimiter


class Forms(NamedTuple):
    """What cells and records look like under a delimiter."""

    cell: re.Pattern[bytes]
    """A cell from where it starts; `rest` is what stands before the next delimiter without quotes."""
    closing: re.Pattern[bytes]
    """The rest of a cell whose quote an earlier line opened."""
    text: re.Pattern[str]
    """A cell of a whole record: what is quoted, what follows the quotes, what is not quoted."""
    record: re.Pattern[bytes]
    """A whole record with its line end."""


@lru_cache(maxsize=64)
def forms(delimiter: str) -> Forms:
    """Return the forms of cells and records under a delimiter, as Python's `csv` module sees them."""
    # A cell that starts with a quote ends at the next single one; what follows up to the delimiter belongs to it all the same.
    one = re.escape(delimiter)
    to_closing, rest = r'[^"]*+(?:""[^"]*+)*+"', rf"(?P<rest>[^{one}\n]*+)"
    cell = rf'(?:"(?:[^"]|"")*+"(?:[^"{one}\n][^{one}\n]*+)?|(?:[^"{one}\n][^{one}\n]*+)?)'
    return Forms(
        re.compile(rf'(?:"{to_closing}|(?!")){rest}'.encode()),
        re.compile(f"{to_closing}{rest}".encode()),
        re.compile(rf'"([^"]*+(?:""[^"]*+)*+)"([^{one}]*+)|(?!")([^{one}]*+)'),
        re.compile(rf"{cell}(?:{one}{cell})*+\n".encode()),
    )
