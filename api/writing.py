"""Writes in one order: decided together, journalled together, on disk before any of them is answered.

One thread writes. It takes what waits, at most one write a client, so that each is decided over a record that stands; a
batch costs one decision and one sync of the disk, however many writes are in it.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from api import images
from api.composing import NAME_PARTS, Composed, today
from api.errors import ApiError, Reason
from api.journal import Journal, JournalError
from api.presenting import SHOWN, client, to_json
from api.records import Outcome, Records, Said
from api.repeats import Repeat, Repeats
from pipelines.home import Home

_TOGETHER = 128
_WAITING = 2000
_CONFLICTS = frozenset({"client_exists", "client_deleted"})
_FIELDS = {**SHOWN, "client_id": "clientRef"}
Answer = tuple[int, bytes]
"""Status and body."""


@dataclass(slots=True)
class Write:
    """One request to write."""

    client_id: str
    compose: Callable[[dict[str, Any] | None], Composed]
    """From the client's record as it stands."""
    status: int
    message: str
    repeat: tuple[str, str] | None = None
    """Digests of the Idempotency-Key and of what is asked."""
    answer: Future[Answer] = field(default_factory=Future)


class Writer:
    """The one thread that writes. `records` gives what stands at the moment, under the writer's lock."""

    def __init__(self, home: Home, journal: Journal, repeats: Repeats, records: Callable[[], Records]) -> None:
        self._home, self._journal, self._repeats, self._records = home, journal, repeats, records
        self.lock = threading.Lock()
        """Held while writes are decided and journalled, and while another publication takes its place."""
        self._incoming: queue.Queue[Write | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="writer")

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        self._incoming.put(None)
        self._thread.join()

    def submit(self, write: Write) -> Future[Answer]:
        """Let a write be done; its answer comes when it is on disk. Raises ApiError 503 when too many wait."""
        try:
            self._incoming.put_nowait(write)
        except queue.Full:
            raise ApiError(503, "Too many writes wait; nothing was written.", headers={"Retry-After": "1"}) from None
        return write.answer

    def _run(self) -> None:
        waiting: deque[Write] = deque()
        going = True
        while going or waiting:
            if not waiting:
                going = self._fetch(waiting, wait=True)
            while going and len(waiting) < _TOGETHER and not self._incoming.empty():
                going = self._fetch(waiting, wait=False)
            batch = _one_a_client(waiting)
            try:
                with self.lock:
                    self._do(batch)
            except BaseException as error:  # the thread outlives it (a panic of Polars is no Exception); each is told
                self._recover(error)
                for write in batch:
                    _fail(write, error if isinstance(error, Exception) else RuntimeError(type(error).__name__))

    def _recover(self, error: BaseException) -> None:
        """Take in lines that were journalled before something unforeseen failed: they are events now."""
        if not isinstance(error, ApiError):
            with self.lock:
                self._records().catch_up()

    def _fetch(self, waiting: deque[Write], *, wait: bool) -> bool:
        """Move one write over; tell whether more may come."""
        write = self._incoming.get(block=wait)
        if write is not None:
            waiting.append(write)
        return write is not None

    def _do(self, batch: Sequence[Write]) -> None:
        new = [write for write in batch if not self._is_repeated(write)]
        records = self._records()
        ids = [write.client_id for write in new]
        stand = records.stand(ids)
        composed = [write.compose(stand.get(client_id)) for client_id, write in zip(ids, new, strict=True)]
        lines = [each.line() for each in composed]
        day = today()
        if records.is_withdrawn(day):
            told = "Today's journal was withdrawn, and a write would bring all of it back. Nothing was written."
            raise ApiError(503, f"{told} `nightdrop rerun` of it, or tomorrow, ends this.")
        try:
            outcomes = records.decide(day, ids, lines, stand)
        except JournalError as error:
            raise ApiError(503, "The journal cannot be written; nothing was written.") from error
        accepted = []
        for write, each, line, outcome in zip(new, composed, lines, outcomes, strict=True):
            reasons = _all_reasons(each, outcome.reasons)
            if reasons or outcome.record is None:
                _fail(write, refusal(reasons))
            else:
                accepted.append((write, each, line, outcome))
        if accepted:
            self._journal_and_answer(day, records, accepted)

    def _journal_and_answer(
        self, day: date, records: Records, accepted: Sequence[tuple[Write, Composed, bytes, Outcome]]
    ) -> None:
        repeats, answers = [], []
        try:
            for _, composed, _, _ in accepted:
                if composed.image is not None:
                    images.store(self._home.warehouse.parent, *composed.image)
            at, _ = self._journal.place(day)
            for write, _, line, outcome in accepted:
                body = to_json({"responseCode": "00", "message": write.message, "data": client(outcome.record or {})})
                answers.append((write.status, body))
                if write.repeat is not None:
                    repeats.append((Repeat(*write.repeat, write.status, body), at, line))
                at += len(line)
            self._repeats.intend(day, repeats)
            self._journal.append(day, [line for _, _, line, _ in accepted])
        except (JournalError, OSError) as error:
            self._repeats.forget([repeat.key for repeat, _, _ in repeats])
            raise ApiError(503, "The disk refuses the write; nothing was written.") from error
        records.take(day, [outcome for *_, outcome in accepted])
        for (write, *_), answer in zip(accepted, answers, strict=True):
            write.answer.set_result(answer)

    def _is_repeated(self, write: Write) -> bool:
        """Answer a write that was done before."""
        known = self._repeats.find(write.repeat[0]) if write.repeat else None
        if known is None or write.repeat is None:
            return False
        if known.asked == write.repeat[1]:
            write.answer.set_result((known.status, known.answer))
        else:
            _fail(write, ApiError(409, "This Idempotency-Key came with another request before; nothing was written."))
        return True


def _one_a_client(waiting: deque[Write]) -> list[Write]:
    """Take out the writes that can be decided together: one a client and one an Idempotency-Key, the others in their order."""
    batch: list[Write] = []
    later: deque[Write] = deque()
    taken: set[object] = set()
    while waiting:
        write = waiting.popleft()
        names: set[object] = {write.client_id, *([(write.repeat[0],)] if write.repeat else ())}
        (later if taken & names else batch).append(write)
        taken |= names
    waiting.extend(later)
    return batch


def _all_reasons(composed: Composed, said: Sequence[Said]) -> list[Reason]:
    """Put what the API refuses before what the rules refuse, one reason a field; of a name that is wrong its parts are told."""
    reasons = list(composed.reasons)
    told = {reason.field for reason in reasons}
    shown = [Reason(code, _FIELDS.get(name or "", name), value, message) for code, name, value, message in said]
    reasons += [reason for reason in shown if reason.field is None or reason.field not in told]
    parts = [reason for reason in reasons if reason.field != "name"]
    return parts if {reason.field for reason in parts} & set(NAME_PARTS) else reasons


def refusal(reasons: Sequence[Reason]) -> ApiError:
    """Return the answer to a write that is refused for these reasons."""
    codes = {reason.code for reason in reasons}
    if codes & _CONFLICTS:
        return ApiError(409, "The client's reference is taken, or the client is deleted.", reasons)
    if "client_unknown" in codes:
        return ApiError(404, "There is no such client.", reasons)
    return ApiError(422, "The request is refused; nothing was written.", reasons)


def _fail(write: Write, error: Exception) -> None:
    if not write.answer.done():
        write.answer.set_exception(error)
