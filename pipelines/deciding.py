"""Decide what a change of the living drops touches, and nothing else, stage by stage. Changes nothing.

From the earliest date that changed, the touched records start as they stood before it and take their events again in order.
Touched are the records of the events that came or went, then, stage by stage, those that hang on a record whose life changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import duckdb
import numpy as np
import polars as pl

from pipelines import conservation, standing, threads
from pipelines.decision import Decision, Living, Stage
from pipelines.eventlog import EventLog
from pipelines.logform import CHOSEN, index_of
from pipelines.logged import Logged
from pipelines.positions import Positions
from pipelines.settled import nothing_settled
from pipelines.settling import settle
from pipelines.standing import Standing
from validation.entities import ENTITIES
from validation.fields import Entity
from validation.rulebook import RuleBook
from validation.rules import SOURCE

IDS = {"id": pl.String()}


def decide(
    con: duckdb.DuckDBPyConnection,
    log: EventLog,
    living: Living,
    since: date,
    rules: RuleBook,
    *,
    source_of: Callable[[str], str],
) -> Decision:
    """Decide anew what the change touches from `since` on; `source_of` names the sender of a drop by its path."""
    recent = living.drops.filter(pl.col("business_date") >= since)
    added, old = recent.filter("added"), recent.filter(~pl.col("added"))
    ranks = recent.select("business_date", "path", "rank")
    return _Deciding(
        standing.AsOf(con, since, ranks),
        rules,
        ranks,
        log.read(added.select(*CHOSEN), living.fixes),
        None if old.is_empty() else log.read(old.select(*CHOSEN), living.fixes),
        gone=standing.records_named(con, living.gone),
        source_of=source_of,
        records=int(added["records"].sum()),
    ).decide()


def decide_some(
    stands: standing.Now,
    entities: Sequence[Entity],
    events: Logged,
    ranks: pl.DataFrame,
    rules: RuleBook,
    *,
    source_of: Callable[[str], str],
) -> Decision:
    """Decide all events about some records of those entities, when all that stands of the records comes before the events.

    Parents are decided already. `ranks`: business_date, path, rank of the drops.
    """
    none = standing.no_names()
    return _Deciding(stands, rules, ranks, events, None, gone=none, source_of=source_of, entities=entities).decide()


class _Deciding:
    """One change on its way through the stages."""

    def __init__(
        self,
        stands: Standing,
        rules: RuleBook,
        ranks: pl.DataFrame,
        added: Logged,
        old: Logged | None,
        *,
        gone: pl.DataFrame,
        source_of: Callable[[str], str],
        entities: Sequence[Entity] = tuple(ENTITIES.values()),
        records: int | None = None,
    ) -> None:
        self.stands, self.rules, self.ranks, self.added, self.old, self.gone = stands, rules, ranks, added, old, gone
        self.source_of, self.entities = source_of, entities
        self.added_index = self.added.index().collect()
        if records is not None:
            conservation.of_the_log(len(self.added_index), records)
        self.stages: dict[str, Stage] = {}
        self.stood: list[pl.DataFrame] = []
        self.named: list[pl.DataFrame] = []
        """The records of earlier drops, in the columns of the log's index, that name a touched id."""
        self.changed: dict[str, pl.DataFrame] = {}
        """Category -> ids of the records whose life, or what a child asks of it, changed."""

    def decide(self) -> Decision:
        for entity in self.entities:
            self._settle(entity)
        events = self._events()
        decided = _positions(events, pl.col("sound") | pl.col("added"))
        settled = [stage.settled for stage in self.stages.values()]
        columns = ["pos", "code", "field", "value", "message"]
        applied = _positions(events, pl.col("applied"))
        # Of a range of ids the log also gives what was found about records of other categories.
        mine = Positions(self.added_index["pos"])
        found = [self.added.every(kind).select(columns).collect() for kind in ("reasons", "warnings")]
        reasons, warnings = (rows.filter(mine.hold(rows["pos"])) for rows in found)
        conservation.of_the_findings(self.added_index, reasons, warnings)
        repeated = [warnings] if self.old is None else [warnings, self.old.every("warnings").select(columns).collect()]
        reasons = pl.concat([reasons, *(part.reasons for part in settled)])
        warnings = pl.concat([*repeated, *(part.warnings for part in settled)])
        return Decision(
            tuple(self.stages.values()),
            pl.concat([pl.DataFrame(schema=standing.VERDICTS), *self.stood]),
            events,
            reasons.filter(decided.hold(reasons["pos"])),
            warnings.filter(applied.hold(warnings["pos"])),
        )

    def _settle(self, entity: Entity) -> None:
        touched, before, was, sound = self._stood(entity)
        if before.is_empty() and sound.is_empty():
            settled = nothing_settled(entity)
        else:
            rules = self.rules.record_rules[entity.category]
            settled = settle(entity, rules, before, sound, self._parents(entity, before, sound))
        conservation.of_settling(entity, before, sound, settled)
        touched = settled.lives.select("id") if touched is None else touched
        money = sound.select(*conservation.no_money(entity).columns)
        self.stages[entity.category] = Stage(entity, touched, before, money, settled)
        self.changed[entity.category] = pl.DataFrame(schema=IDS) if was is None else _different(was, settled.lives)

    def _stood(self, entity: Entity) -> tuple[pl.DataFrame | None, pl.DataFrame, pl.DataFrame | None, pl.DataFrame]:
        """Return the touched ids, their records before, their lives if children may hang on them, and their sound events.

        Where no record stood there is nothing to be asked for, so whom the events name is not worked out: None.
        """
        if self.stands.has_none(entity):
            return None, standing.no_records(entity), None, self._logged(entity, pl.DataFrame(schema=IDS))
        touched = self._touched(entity)
        if touched.is_empty():
            return touched, standing.no_records(entity), None, conservation.no_money(entity)
        with threads.pool(1) as pool:
            # The log is read while the warehouse is asked.
            reading = pool.submit(self._logged, entity, touched)
            before = self.stands.records(entity, touched)
            was = None
            if self.old is not None and isinstance(self.stands, standing.AsOf):
                verdicts = self.stands.verdicts(entity, touched)
                self.stood.append(verdicts)
                was = self.stands.lives(entity, touched, known=(before, verdicts))
            return touched, before, was, reading.result()

    def _logged(self, entity: Entity, touched: pl.DataFrame) -> pl.DataFrame:
        """Return the sound events of the touched records, as `settle` takes them; keep what else the log says of them."""
        columns = ["pos", "rank", "step", "sent", "business_date", *entity.names]
        events = self.added.every(entity.category).select(columns).collect()
        if self.old is not None:
            events = pl.concat([events, self.old.having(entity.category, entity.id, touched["id"]).select(columns)])
            self.named.append(self.old.having(index_of(entity.category), "entity_id", touched["id"]))
        named = events.rename({"business_date": "date"})
        return self._with_sources(entity, named).drop("rank")

    def _with_sources(self, entity: Entity, events: pl.DataFrame) -> pl.DataFrame:
        """Add who sent each event, where a rule asks for it."""
        if not any(SOURCE in rule.reads for rule in self.rules.record_rules[entity.category]):
            return events
        names = [self.source_of(path) for path in self.ranks["path"]]
        sent_by = self.ranks.select("rank", pl.Series(SOURCE, names, dtype=pl.String))
        return events.join(sent_by, on="rank", how="left", maintain_order="left")

    def _touched(self, entity: Entity) -> pl.DataFrame:
        """Return the ids of the records to decide again."""
        mine = pl.col("category") == entity.category
        named = (self.added_index.lazy(), self.gone.lazy())  # lazily: only two columns of them are looked at
        ids = [rows.filter(mine).select(id="entity_id").collect() for rows in named]
        if entity.parent is not None and self.old is not None and not self.changed[entity.parent].is_empty():
            hanging = self.old.having(index_of(entity.category), "parent_id", self.changed[entity.parent]["id"])
            ids.append(hanging.select(id="entity_id"))
        return pl.concat(ids).drop_nulls().unique()

    def _parents(self, entity: Entity, before: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """Return the lives of all parents that records or events name, as this change leaves them."""
        if entity.parent is None or entity.parent_id is None:
            return pl.DataFrame(schema=IDS)
        parent = ENTITIES[entity.parent]
        named = pl.concat([before.select(id=entity.parent_id), events.select(id=entity.parent_id)]).drop_nulls().unique()
        return self._lives(parent, named)

    def _lives(self, entity: Entity, ids: pl.DataFrame) -> pl.DataFrame:
        """Return the lives of those records as this change leaves them: settled now, or as the warehouse has them."""
        stage = self.stages.get(entity.category)
        if stage is None:
            return self.stands.lives(entity, ids)
        others = ids.join(stage.touched, on="id", how="anti")
        return pl.concat([stage.settled.lives.join(ids, on="id", how="semi"), self.stands.lives(entity, others)])

    def _events(self) -> pl.DataFrame:
        """Return every event that is decided anew, or whose client may have changed."""
        columns = [
            "pos",
            "rank",
            "line",
            "byte_offset",
            "byte_length",
            "category",
            "step",
            "entity_id",
            "parent_id",
            "sound",
            "file",
            "reasons",
            "warnings",
        ]
        index = [self.added_index.select(columns).with_columns(added=pl.lit(True))]
        if self.old is not None:
            of_record = pl.concat([self.added_index.clear(), *self.named]).select(columns)
            of_loan = of_record.clear()
            if not self.changed["loan"].is_empty():
                of_loan = self.old.having(index_of("payment"), "parent_id", self.changed["loan"]["id"]).select(columns)
            again = pl.concat([of_record, of_loan]).unique("pos")
            index.append(again.select(columns).with_columns(added=pl.lit(False)))
        events = pl.concat(index)
        verdicts = [stage.settled.verdicts for stage in self.stages.values()]
        events = self._with_clients(events.with_columns(applied=_applied(events["pos"], verdicts))).drop("parent_id")
        # Whoever sorts by it then knows that there is nothing to do.
        return events.with_columns(pl.col("pos").set_sorted()) if events["pos"].is_sorted() else events

    def _with_clients(self, events: pl.DataFrame) -> pl.DataFrame:
        """Add `client_id`: the client an event is about, as far as it is known at the event's position."""
        parts = [events.clear().with_columns(client_id=pl.lit(None, dtype=pl.String))]
        # A part of a large change is of one category and stays as it is: to partition copies every row.
        mixed = bool(events.select(pl.col("category").ne_missing(pl.col("category").first()).any()).item())
        for part in events.partition_by("category", maintain_order=True) if mixed else [events]:
            category = part["category"].first()
            if category is None:
                parts.append(part.with_columns(client_id=pl.lit(None, dtype=pl.String)))
                continue
            entity = ENTITIES[str(category)]
            if entity.parent is None:
                parts.append(part.with_columns(client_id="entity_id"))
                continue
            parent = self._record_parents(entity, part)
            if entity.parent != "client":
                parent = self._parents_of(ENTITIES[entity.parent], part["pos"], parent)
            parts.append(part.with_columns(client_id=parent))
        return pl.concat(parts)

    def _record_parents(self, entity: Entity, events: pl.DataFrame) -> pl.Series:
        """Return the parent's id of each event's record as it stands after the event, else the one sent."""
        unsound = events.filter(pl.col("entity_id").is_not_null() & ~pl.col("sound"))
        lives = self._lives(entity, unsound.select(id="entity_id").unique())
        stage = self.stages.get(entity.category)  # there is none for what has no id
        settled = nothing_settled(entity) if stage is None else stage.settled
        verdicts = settled.verdicts.select("pos", record_parent="parent_id")
        joined = events.join(verdicts, on="pos", how="left", maintain_order="left").join(
            lives.select("id", "created_pos", of_record=str(entity.parent_id)),
            left_on="entity_id",
            right_on="id",
            how="left",
            maintain_order="left",
        )
        there = pl.when(pl.col("created_pos") < pl.col("pos")).then(pl.col("of_record"))
        return joined.select(pl.coalesce("record_parent", there, "parent_id")).to_series()

    def _parents_of(self, entity: Entity, pos: pl.Series, ids: pl.Series) -> pl.Series:
        """Return the parents of records of `entity` as they stand at positions, null where they are not there yet."""
        frame = pl.DataFrame({"pos": pos, "id": ids})
        lives = self._lives(entity, frame.select("id").drop_nulls().unique())
        joined = frame.join(lives, on="id", how="left", maintain_order="left")
        return joined.select(pl.when(pl.col("created_pos") < pl.col("pos")).then(pl.col(str(entity.parent_id)))).to_series()


def _positions(events: pl.DataFrame, which: pl.Expr) -> Positions:
    return Positions(events.lazy().filter(which).select("pos").collect().to_series())


def _applied(pos: pl.Series, verdicts: Sequence[pl.DataFrame]) -> pl.Series:
    """Tell of each event whether it is applied; of one without a verdict, that it is not."""
    applied = np.zeros(len(pos), dtype=np.bool_)
    for some in verdicts:
        there, rows = Positions(some["pos"]).rows_at(pos)
        applied[there] = some["applied"].to_numpy()[rows]
    return pl.Series(applied)


def _different(was: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Return the ids whose lives are not the same in both."""
    alike = was.join(now, on=was.columns, how="semi", nulls_equal=True).select("id")
    return pl.concat([was.select("id"), now.select("id")]).unique().join(alike, on="id", how="anti")
