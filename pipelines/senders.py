"""What the lines about one record really sent: out of the event log, and out of the archive what the log has not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from pipelines.archive import Archive
from pipelines.checking import check
from pipelines.database import query
from pipelines.diary import last_rule_set
from pipelines.discovery import drop_format
from pipelines.eventlog import EventLog
from pipelines.home import Home, Settings
from pipelines.journals import is_journal
from pipelines.logform import CHOSEN, FIXES
from pipelines.problems import DropHeldError, NightdropError
from pipelines.reading import read_chunks
from pipelines.sources import Sources
from pipelines.stories import Position, position_of
from validation.fields import Entity
from validation.rulebook import RuleBook

_ANY_FORM = RuleBook.of({"individual": "(?s).*", "company": "(?s).*"})
"""To read values that were judged before: what settings say of registration numbers does not matter."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What one sound event sent, and the defaults that fill a create."""

    sent: dict[str, Any]
    defaults: dict[str, Any]

    @classmethod
    def of(cls, entity: Entity, row: dict[str, Any]) -> Sending:
        """Read it out of a row of the log (columns `event_schema`)."""
        if row["step"] == "delete":  # it ignores what else it sends
            return cls({entity.id: row[entity.id]}, {})
        sent = {name: row[name] for bit, name in enumerate(entity.names, start=1) if row["sent"] >> bit & 1}
        unsent = [field for field in entity.fields if field.default is not None and field.name not in sent]
        return cls(sent, {field.name: field.default for field in unsent} if row["step"] == "create" else {})


class Senders:
    """Finds what events of one id sent: in the log, and in the archive what was resubmitted or what the log has lost."""

    def __init__(self, home: Home, con: duckdb.DuckDBPyConnection, entity: Entity, entity_id: str, sources: Sources) -> None:
        self.sources = sources
        self.con, self.entity, self.id = con, entity, entity_id
        self.log, self.archive = EventLog(home.log), Archive(home.archive)

    def sendings(
        self, events: Sequence[dict[str, Any]], corrections: dict[Position, list[dict[str, Any]]]
    ) -> dict[Position, Sending]:
        """Return what each event sent; nothing of those that break an event rule or that are found nowhere."""
        editions = self._editions(events)
        found = self._logged(editions)
        for day, path, sha256, part in editions.select("business_date", "path", "sha256", "part").iter_rows():
            # A refused line is not in the log when it breaks an event rule; an applied one must be.
            mine = [position_of(e) for e in events if e["path"] == path and (part is None or e["verdict"] == "applied")]
            lost = {here.line for here in mine if here not in found and not corrections[here]}
            found |= {Position(day, path, row["line"]): row for row in self._archived(sha256, path, lost)}
        for here in map(position_of, events):
            for row in corrections[here][-1:]:
                found.pop(here, None)  # what the original sent does not stand
                mended = self._archived(row["sha256"], here.path, {row["its_line"]}, packed=False)
                found |= dict(zip([here], mended, strict=False))
        return {here: Sending.of(self.entity, row) for here, row in found.items()}

    def _editions(self, events: Sequence[dict[str, Any]]) -> pl.DataFrame:
        """Return the drops of the events with the part of the log that has them (null: none), columns `CHOSEN` and more."""
        paths = pl.DataFrame({"path": sorted({event["path"] for event in events})}, schema={"path": pl.String()})
        drops = query(
            self.con,
            "SELECT business_date, path, sha256 FROM drops SEMI JOIN paths USING (path) WHERE status = 'applied' ORDER BY path",
            paths=paths,
        )
        logged = self.log.editions(last_rule_set(self.con)).unique(["path", "sha256"], keep="last")
        return (
            drops.join(logged, on=["path", "sha256"], how="left", maintain_order="left")
            .with_row_index("rank")
            .with_columns(pl.col("rank").cast(pl.Int64))
        )

    def _logged(self, editions: pl.DataFrame) -> dict[Position, dict[str, Any]]:
        chosen = editions.filter(pl.col("part").is_not_null())
        logged = self.log.read(chosen.select(*CHOSEN), pl.DataFrame(schema=FIXES))
        rows = logged.having(self.entity.category, self.entity.id, pl.Series([self.id])).iter_rows(named=True)
        paths = editions["path"].to_list()
        return {Position(row["business_date"], paths[row["rank"]], row["line"]): row for row in rows}

    def _archived(self, sha256: str, path: str, lines: Set[int], *, packed: bool = True) -> Iterator[dict[str, Any]]:
        """Yield the events on those lines of archived bytes that are about the id; none where the bytes cannot be read.

        They are of the drop of that path, or (`packed` false) of a file that corrects it.
        """
        shape = drop_format(path)
        if not lines or shape is None:
            return
        compression, dialect = shape[1] if packed else None, self.sources.dialect_of(path)
        size, journal = Settings().chunk_bytes, is_journal(path)
        with suppress(NightdropError, DropHeldError), self.archive.open_bytes(sha256, compression) as stream:
            for chunk in read_chunks(stream, shape[0], chunk_bytes=size, as_it_is=True, journal=journal, dialect=dialect):
                sheet = chunk.sheets.get(self.entity.category)
                if sheet is None or sheet.filter(pl.col("line").is_in(lines)).is_empty():
                    continue
                drop = pl.lit(0, dtype=pl.UInt32).alias("drop")
                mine = sheet.filter(pl.col("line").is_in(lines)).with_columns(drop)
                checked = check({self.entity.category: mine}, chunk.unread.clear().with_columns(drop), _ANY_FORM)
                yield from checked.events[self.entity.category].filter(pl.col(self.entity.id) == self.id).iter_rows(named=True)
