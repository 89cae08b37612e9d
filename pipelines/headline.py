"""The one sentence about a night and its one colour: fine, refused or held. Warnings never change it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["fine", "refused", "held"]


@dataclass(frozen=True, slots=True)
class Headline:
    """How a night went."""

    state: State
    """held: a drop waits for a person; refused: all drops are in, some records are not; fine: everything is in."""
    sentence: str


def headline(*, drops: int, records: int, rejected: int, roots: int, held: int) -> Headline:
    """Say how it went: of `drops` that are in with so many `records`, `rejected` were refused for `roots` causes; `held` wait."""
    said = _records(drops, records, rejected, roots)
    if held:
        waiting = (
            "1 drop is held: nothing of it is in the warehouse until somebody looks at it."
            if held == 1
            else f"{held:,} drops are held: nothing of them is in the warehouse until somebody looks at them."
        )
        return Headline("held", f"{waiting} {said}" if drops else waiting)
    return Headline("refused" if rejected else "fine", said)


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
