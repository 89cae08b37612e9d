"""Records as they stand: one publication, and over it what the journals hold beyond it, settled by the code of the night.

A write settles on the record as it stands, so it costs the same however long the journal is. Only where the publication has
later events of the client (or other lines than the journal) is the client decided again from the event log (`redeciding`).
"""

from __future__ import annotations

import logging
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl

from api.journal import Journal
from api.pending import Pending, checked, pending, placed
from api.presenting import columns
from api.publication import Publication, frame_of
from api.redeciding import Redecided, redecide
from pipelines.home import Home
from pipelines.journals import journal_path
from pipelines.positions import LINES_A_DROP
from pipelines.problems import NightdropError
from pipelines.settled import Settled, lives_schema
from pipelines.settling import settle
from pipelines.sources import ANYBODY, Sources
from validation.client import CLIENT
from validation.rulebook import RuleBook

_LOG = logging.getLogger("nightdrop.api")
Said = tuple[str, str | None, str | None, str]
"""Code, field, value, message of one reason."""
_NOBODY = pl.DataFrame(schema=lives_schema(CLIENT))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a proposed line would come to: its reasons, or the client's record as it then stands."""

    reasons: list[Said]
    record: dict[str, Any] | None
    redecided: Redecided | None = None


class Records:
    """The clients, loans and deposits of one home as they stand. Writers hold its owner's lock; readers need none."""

    def __init__(self, home: Home, journal: Journal, published: Publication, rules: RuleBook, sources: Sources = ANYBODY) -> None:
        self.home, self.journal, self.published, self.rules, self.sources = home, journal, published, rules, sources
        self._over: dict[str, dict[str, dict[str, Any] | None]] = {"client": {}, "loan": {}, "deposit": {}}
        """Category -> id -> the record where it differs from the published one; None where there is none any more."""
        self._places: dict[str, tuple[int, bool]] = {}
        """Where each changed client stands, or would stand, among the published ones, and whether it is there."""
        self._changed: list[str] = []
        """References of the clients in it, in their order; replaced as a whole, so that readers may walk over it."""
        waiting, self._taken = pending(journal.days(), published.journals)
        floor = min([lines.day for lines in waiting], default=datetime.now(UTC).date())
        self._later = published.later(min(floor, datetime.now(UTC).date()))
        self._replaced = published.named_in(lines.path for lines in waiting if lines.replaces)
        self._take(waiting)

    # --- what stands ---

    def client(self, reference: str) -> dict[str, Any] | None:
        """Return a client's record, deleted or not; None when there is none."""
        over = self._over["client"]
        return over[reference] if reference in over else self.published.client(reference)

    def stand(self, references: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the records of those clients that there are, deleted or not, by reference; one question for them all."""
        over, published = self._over["client"], self.published
        found = {each: record for each in references if (record := over.get(each)) is not None}
        others = {each: published.place(each) for each in references if each not in over}
        places = [place for each, place in others.items() if published.is_at(place, each)]
        return found | {record["client_id"]: record for record in published.clients(places)}

    def page(self, term: str | None, limit: int, offset: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many living clients there are (that match a term), and some of them in the order of references."""
        published, over = self.published, self._over["client"]
        changed = self._changed
        places = published.living if not term else published.matching(term)
        at = np.array([self._places[reference][0] for reference in changed], dtype=np.int64)
        there = np.array([self._places[reference][1] for reference in changed], dtype=np.bool_)
        stands = np.array([_is_listed(over.get(reference), term) for reference in changed], dtype=np.bool_)
        kept = np.setdiff1d(places, at[there], assume_unique=True) if len(changed) else places
        mine = [reference for reference, listed in zip(changed, stands.tolist(), strict=True) if listed]
        # Where each of mine comes in the list: behind the kept ones with a lower place, and its own before it.
        slots = np.searchsorted(kept, at[stands], side="left") + np.arange(len(mine))
        window = range(offset, min(offset + limit, len(kept) + len(mine)))
        own = {int(slot): over[reference] for slot, reference in zip(slots, mine, strict=True) if slot in window}
        skipped = int(np.searchsorted(slots, offset, side="left"))
        first = offset - skipped
        rest = iter(published.clients(kept[first : first + len(window) - len(own)].tolist()) if window else [])
        records = [own[slot] if slot in own else next(rest) for slot in window]
        return len(kept) + len(mine), [record for record in records if record is not None]

    def of_client(self, category: str, client_id: str, limit: int, offset: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many loans or deposits a client has, deleted ones too, and some of them by their ids."""
        over = dict(self._over[category])
        mine = [record for record in over.values() if record is not None and record["client_id"] == client_id]
        if not over:
            total, rows = self.published.of_client(category, client_id, (), (limit, offset))
            return total, rows
        total, rows = self.published.of_client(category, client_id, tuple(over), None)
        rows = sorted(rows + mine, key=lambda record: record[columns(category)[0]])
        return total + len(mine), rows[offset : offset + limit]

    # --- what is written ---

    def decide(self, day: date, ids: Sequence[str], lines: Sequence[bytes], stand: dict[str, dict[str, Any]]) -> list[Outcome]:
        """Decide lines (one a client) that would be the next ones of a day's journal; `stand`: those clients as they stand."""
        _, first = self.journal.place(day)
        outcomes: list[Outcome | None] = [None] * len(lines)
        plain = [at for at, client_id in enumerate(ids) if not self._has_later(client_id, day)]
        found = self._settle(b"".join(lines[at] for at in plain), day, first + 1, stand)
        for number, at in enumerate(plain):
            outcomes[at] = found[number]
        for at, line in enumerate(lines):
            if outcomes[at] is None:
                outcomes[at] = self._redecide_with(ids[at], day, line, first + 1, stand)
        return [outcome for outcome in outcomes if outcome is not None]

    def is_withdrawn(self, day: date) -> bool:
        """Tell whether a person took out the day's journal as it now is: one more line would bring all of it back."""
        edition = self.published.journals.get(journal_path(day))
        return edition is not None and edition.status == "withdrawn" and self._taken.get(day) == edition.bytes

    def take(self, day: date, outcomes: Sequence[Outcome]) -> None:
        """Take in what was decided and has been journalled."""
        for outcome in outcomes:
            if outcome.redecided is not None:
                self._take_redecided(outcome.redecided)
            elif outcome.record is not None:
                self._put(outcome.record["client_id"], outcome.record)
        self._taken[day] = self.journal.place(day)[0]

    def catch_up(self) -> None:
        """Take in lines that were journalled since this was made."""
        late, looked_at = [], {}
        for day, file in self.journal.days():
            taken = self._taken.get(day, 0)
            size = file.stat().st_size
            if size <= taken:
                continue
            data = file.read_bytes()[:size]
            first_line = data.count(b"\n", 0, taken) + 1
            late.append(Pending(day, data[taken : data.rfind(b"\n") + 1], first_line, replaces=False))
            looked_at[day] = data.rfind(b"\n") + 1
        self._taken |= looked_at
        self._take(late)

    # --- within ---

    def _has_later(self, client_id: str, day: date) -> bool:
        later = self._later.get(client_id)
        return client_id in self._replaced or (later is not None and later > day)

    def _take(self, waiting: Sequence[Pending]) -> None:
        """Settle pending lines over what stands, in the order of their positions."""
        events, slow = [], set(self._replaced)
        for lines in sorted(waiting, key=lambda each: each.day):
            source = self.sources.name_of(lines.path)
            found = checked(lines.lines, lines.first_line, 0, self.rules, source)
            sound = found.events.get("client")
            named = set(found.index["entity_id"].drop_nulls())
            slow |= {client_id for client_id in named if self._has_later(client_id, lines.day)}
            if sound is not None:
                events.append(placed(sound, lines.day, self.rules, source))
        if slow:
            try:
                self._take_redecided(self._redecide(self._all_pending(), slow))
            except NightdropError as error:
                _LOG.warning("%s. Until then its clients are shown with the journal's lines last.", error)
                slow = set()
        if events:
            together = pl.concat(events).filter(~pl.col("client_id").is_in(pl.Series(sorted(slow), dtype=pl.String).implode()))
            stand = self.stand(together["client_id"].unique().to_list())
            for record in _last(self._settled(together, stand)):
                self._put(record["client_id"], record)

    def _redecide(self, waiting: Sequence[Pending], ids: set[str]) -> Redecided:
        return redecide(self.home, self.published, waiting, ids, self.rules, sources=self.sources)

    def _all_pending(self) -> list[Pending]:
        return pending(self.journal.days(), self.published.journals)[0]

    def _settled(self, events: pl.DataFrame, stand: dict[str, dict[str, Any]]) -> Settled:
        before = [stand[client_id] for client_id in events["client_id"].unique() if client_id in stand]
        return settle(CLIENT, self.rules.record_rules["client"], frame_of("client", before), events, _NOBODY)

    def _settle(self, lines: bytes, day: date, first_line: int, stand: dict[str, dict[str, Any]]) -> list[Outcome]:
        """Decide lines of different clients, each over its client's record as it stands."""
        if not lines:
            return []
        count = lines.count(b"\n")
        source = self.sources.name_of(journal_path(day))
        found = checked(lines, first_line, 0, self.rules, source)
        reasons: dict[int, list[Said]] = {}
        for line, *said in found.reasons.select("line", "code", "field", "value", "message").iter_rows():
            reasons.setdefault(line, []).append((said[0], said[1], said[2], said[3]))
        events = placed(found.events["client"], day, self.rules, source) if "client" in found.events else None
        records: dict[int, dict[str, Any]] = {}
        if events is not None and len(events):
            settled = self._settled(events, stand)
            for pos, *said in settled.reasons.select("pos", "code", "field", "value", "message").iter_rows():
                reasons.setdefault(pos % LINES_A_DROP, []).append((said[0], said[1], said[2], said[3]))
            line_of = {client_id: pos % LINES_A_DROP for client_id, pos in events.select("client_id", "pos").iter_rows()}
            records = {line_of[record["client_id"]]: record for record in _last(settled)}
        numbers = range(first_line, first_line + count)
        return [Outcome(reasons.get(number, []), records.get(number)) for number in numbers]

    def _redecide_with(self, client_id: str, day: date, line: bytes, number: int, stand: dict[str, dict[str, Any]]) -> Outcome:
        """Decide one line of a client that has later events; they may come to something else because of it."""
        waiting = self._all_pending()
        same = next((lines for lines in waiting if lines.day == day), None)
        others = [lines for lines in waiting if lines is not same]
        mine = Pending(
            day, (same.lines if same else b"") + line, same.first_line if same else number, bool(same and same.replaces)
        )
        try:
            found = self._redecide([*others, mine], {client_id})
        except NightdropError as error:
            _LOG.warning("%s. Until then the line is decided as the last one of its client.", error)
            return self._settle(line, day, number, stand)[0]
        record = found.records.get("client", {}).get(client_id)
        return Outcome(found.reasons.get((day, number), []), record, found)

    def _take_redecided(self, found: Redecided) -> None:
        for client_id, record in found.records.get("client", {}).items():
            self._put(client_id, record)
        for category in ("loan", "deposit"):
            self._over[category] = self._over[category] | found.records.get(category, {})

    def _put(self, client_id: str, record: dict[str, Any] | None) -> None:
        over = self._over["client"]
        fresh = client_id not in over
        over[client_id] = record
        if fresh:
            place = self.published.place(client_id)
            self._places[client_id] = place, self.published.is_at(place, client_id)
            changed = self._changed.copy()
            insort(changed, client_id)
            self._changed = changed


def _last(settled: Settled) -> list[dict[str, Any]]:
    """Return the records as they stand after all events."""
    return list(settled.versions.filter(pl.col("valid_to").is_null()).select(columns("client")).iter_rows(named=True))


def _is_listed(record: dict[str, Any] | None, term: str | None) -> bool:
    """Tell whether a record belongs into the list of living clients (that match a term)."""
    if record is None or record["deleted_on"] is not None:
        return False
    searched = (record[name] for name in ("client_id", "name", "email", "phone", "registration_number"))
    return not term or any(value is not None and term.lower() in value.lower() for value in searched)
