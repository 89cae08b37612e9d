"""Requests with an Idempotency-Key: the same request again gets the same answer, and its event is written once.

What will be answered is on disk before its line goes to the journal, with the place the line will have. After a crash a
request counts as done when the journal has that very line at that very place, and as never made when it has not.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson

from pipelines.files import sync_folder
from pipelines.journals import journal_path

KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Repeat:
    """A request that was done: what it asked, and what was answered."""

    key: str
    """Digest of the API key's id and the Idempotency-Key."""
    asked: str
    """Digest of method, address and body."""
    status: int
    answer: bytes


class Repeats:
    """The requests of the last days that came with a key: a file a day beside the keys. Not for several threads at once."""

    def __init__(self, folder: Path, inbox: Path) -> None:
        self._folder, self._inbox = folder, inbox
        self._known: dict[str, tuple[Path, int, int]] = {}
        self._load()

    def find(self, key: str) -> Repeat | None:
        """Return the request that was done with that key."""
        place = self._known.get(key)
        if place is None:
            return None
        file, offset, length = place
        with file.open("rb") as stream:
            stream.seek(offset)
            row = orjson.loads(stream.read(length))
        return Repeat(row["key"], row["asked"], row["status"], base64.b64decode(row["answer"]))

    def intend(self, day: date, repeats: Sequence[tuple[Repeat, int, bytes]]) -> None:
        """Note requests that are about to be done, each with the place and the bytes of its line in the day's journal."""
        if not repeats:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._folder / f"{day.isoformat()}.jsonl"
        rows = [_row(repeat, offset, line) for repeat, offset, line in repeats]
        fresh = not file.exists()
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as stream:
            start = stream.seek(0, os.SEEK_END)
            if start and not _ends_whole(file):
                start += stream.write(b"\n")
            stream.write(b"".join(rows))
            stream.flush()
            os.fsync(stream.fileno())
        if fresh:
            sync_folder(self._folder)
        for (repeat, _, _), row in zip(repeats, rows, strict=True):
            self._known[repeat.key] = file, start, len(row)
            start += len(row)

    def forget(self, keys: Sequence[str]) -> None:
        """Take back what was intended and not done."""
        for key in keys:
            self._known.pop(key, None)

    def _load(self) -> None:
        oldest = datetime.now(UTC).date() - timedelta(days=KEPT_DAYS)
        for file in sorted(self._folder.glob("????-??-??.jsonl")):
            day = date.fromisoformat(file.stem)
            if day < oldest:
                file.unlink()
            else:
                self._load_day(day, file)

    def _load_day(self, day: date, file: Path) -> None:
        try:
            journal = (self._inbox / journal_path(day)).read_bytes()
        except FileNotFoundError:
            return
        offset = 0
        for row in file.read_bytes().splitlines(keepends=True):
            try:
                said = orjson.loads(row)
            except orjson.JSONDecodeError:  # half written by a server that was killed: its line was never journalled
                said = None
            if said is not None and row.endswith(b"\n"):
                line = journal[said["at"] : said["at"] + said["bytes"]]
                if len(line) == said["bytes"] and hashlib.sha256(line).hexdigest() == said["line"]:
                    self._known[said["key"]] = file, offset, len(row)
            offset += len(row)


def digest(*parts: bytes) -> str:
    """Return one digest of several parts, none of which can run into the next."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def _row(repeat: Repeat, at: int, line: bytes) -> bytes:
    said = {
        "key": repeat.key,
        "asked": repeat.asked,
        "status": repeat.status,
        "answer": base64.b64encode(repeat.answer).decode(),
        "at": at,
        "bytes": len(line),
        "line": hashlib.sha256(line).hexdigest(),
    }
    return orjson.dumps(said) + b"\n"


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
