"""The moment of a run: which run it is, and when it began. For the diary: nothing is decided by it, since clocks jump back."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Moment:
    """Which run decides, and when."""

    run_id: str
    at: datetime
    """UTC."""
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def now(cls) -> Moment:
        """Return the moment of a run that begins. Its id tells the time, and nothing is decided by it: clocks jump back."""
        at = datetime.now(UTC)
        return cls(f"{at:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}", at)

    @property
    def finished(self) -> datetime:
        """Return the time now, UTC, by a clock that nobody sets while a run goes on: never before `at`."""
        return self.at + timedelta(seconds=time.monotonic() - self.began)

    @property
    def naive(self) -> datetime:
        """Return `at` as the warehouse keeps it: UTC without zone."""
        return self.at.replace(tzinfo=None)
