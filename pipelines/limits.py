"""How much a drop may be: one beyond its limits is held, and never in memory as a whole. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pipelines.problems import DropHeldError

KEPT_AT_MOST = 2**31 - 1
"""Bytes of one record that can be kept with its rejection: what Arrow counts with 32 bits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings allow; without arguments, what is possible (of a drop that a person released)."""

    max_expanded: int = sys.maxsize
    max_line: int = KEPT_AT_MOST

    def assert_size(self, size: int) -> None:
        """Raise DropHeldError `too_large` when a drop has more bytes than it may have."""
        if size > self.max_expanded:
            raise DropHeldError("too_large", f"it expands {self._of_size()}")

    def assert_line(self, line: int, length: int) -> None:
        """Raise DropHeldError when a record that starts on that line has more bytes than it may have.

        `too_large`; `unreadable` when no release could help, since its bytes could not be kept.
        """
        if length > self.max_line < KEPT_AT_MOST:
            raise DropHeldError("too_large", f"the record on line {line} goes {self._of_line()}")
        if length > KEPT_AT_MOST:
            raise DropHeldError(
                "unreadable", f"the record on line {line} goes beyond {KEPT_AT_MOST:,} bytes; no rejection could keep it"
            )

    def are_others_than_in(self, hold: tuple[str, str] | None) -> bool:
        """Tell whether a drop is held for a limit that is another one now."""
        return hold is not None and hold[0] == "too_large" and not hold[1].endswith((self._of_size(), self._of_line()))

    def _of_size(self) -> str:
        return f"beyond {self.max_expanded:,} bytes (setting `max_expanded`)"

    def _of_line(self) -> str:
        return f"beyond {self.max_line:,} bytes (setting `max_line`)"
