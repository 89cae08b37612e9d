"""What a change of the living drops is, and everything that is decided because of it: frames, handed from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import cast

import polars as pl

from pipelines.settled import Settled
from validation.fields import Entity


@dataclass(frozen=True, slots=True)
class Living:
    """The living drops after the change, and what the change is.

    `drops`: business_date, path, sha256, part, drop, rank, added (it came with this change), records, one row a drop;
    `gone`: business_date, path, sha256 of the editions that lived before and do not now, or are to be decided again;
    `fixes`: the lines of resubmitted files that stand in for lines of living drops (columns `FIXES`).
    """

    drops: pl.DataFrame
    gone: pl.DataFrame
    fixes: pl.DataFrame

    @property
    def since(self) -> date | None:
        """Return the earliest business date that changed; None when nothing did."""
        dates = pl.concat([self.drops.filter("added")["business_date"], self.gone["business_date"]])
        return cast("date | None", dates.min())


@dataclass(frozen=True, slots=True)
class Stage:
    """What became of one entity: the ids touched, their records before, their sound events' money, what settling gave."""

    entity: Entity
    touched: pl.DataFrame
    """Column `id`; where no record stood before, those alone that were created."""
    before: pl.DataFrame
    money: pl.DataFrame
    """pos of every sound event that was settled; where the entity has money fields, also step, sent, the id and these."""
    settled: Settled


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that is decided anew.

    `events`: pos, rank, line, added, file, byte_offset, byte_length, category, step, entity_id, client_id, sound, applied,
    reasons and warnings (how many the event has by itself);
    `stood`: the events of the touched records as the warehouse has them (columns of `standing.verdicts_on`);
    `reasons`, `warnings`: pos, code, field, value, message, of those events whose verdict was decided.
    """

    stages: tuple[Stage, ...]
    stood: pl.DataFrame
    events: pl.DataFrame
    reasons: pl.DataFrame
    warnings: pl.DataFrame
