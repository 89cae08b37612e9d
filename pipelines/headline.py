"""The one sentence about a night and its one colour: fine, refused, missing or held. Warnings never change it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["fine", "refused", "missing", "held"]


@dataclass(frozen=True, slots=True)
class Headline:
    """How a night went."""

    state: State
    """held: a drop waits for a person; missing: one that was expected did not come; refused: all drops are in, some records
    are not; fine: everything is in."""
    sentence: str


def headline(*, drops: int, records: int, rejected: int, roots: int, held: int, missing: int = 0) -> Headline:
    """Say how it went: of `drops` that are in with so many `records`, `rejected` were refused for `roots` causes.

    `held` wait for a person, `missing` were expected by now and did not come.
    """
    said = [_records(drops, records, rejected, roots)] if drops or not (held or missing) else []
    if missing:
        absent = "1 expected drop did not come." if missing == 1 else f"{missing:,} expected drops did not come."
        said.insert(0, absent)
    if held:
        waiting = (
            "1 drop is held: nothing of it is in the warehouse until somebody looks at it."
            if held == 1
            else f"{held:,} drops are held: nothing of them is in the warehouse until somebody looks at them."
        )
        said.insert(0, waiting)
    state: State = "held" if held else "missing" if missing else "refused" if rejected else "fine"
    return Headline(state, " ".join(said))


def _records(drops: int, records: int, rejected: int, roots: int) -> str:
    if not drops:
        return "No drop is in the warehouse."
    if not records:
        return "The drops are in; there was no record in them."
    if not rejected:
        return "The one record is in the warehouse." if records == 1 else f"All {records:,} records are in the warehouse."
    were = "1 was refused" if rejected == 1 else f"{rejected:,} were refused"
    causes = "" if roots in (0, rejected) else f", from {roots:,} root cause{'' if roots == 1 else 's'}"
    are = "is" if records - rejected == 1 else "are"
    return f"{records - rejected:,} of {records:,} records {are} in the warehouse; {were}{causes}."
