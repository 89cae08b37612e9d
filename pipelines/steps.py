"""The steps of a run: done by their names, watched and timed. What a step does is no concern of this."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypeVar

from pipelines.summary import Progress, StepRunner

T = TypeVar("T")
_LOG = logging.getLogger("nightdrop.steps")


class Steps:
    """Runs steps by their names, tells the progress, and keeps the time."""

    def __init__(self, progress: Progress | None = None, around: StepRunner | None = None) -> None:
        self.progress, self.around = progress, around
        self.seconds: dict[str, float] = {}

    def run(self, name: str, work: Callable[[], T], *, total: int | None = None, kind: str | None = None) -> T:
        """Run one step; steps of a `kind` are timed together."""
        if self.progress:
            self.progress.step(name, total)
        started = time.perf_counter()
        try:
            return self.around(name, work) if self.around else work()
        finally:
            seconds = self._note(kind or name, started)
            _LOG.info("step", extra={"told": {"step": name, "seconds": round(seconds, 3)}})

    @contextmanager
    def within(self, outer: str, name: str) -> Iterator[None]:
        """Time a part of a step by a name of its own, apart from the rest of it."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[outer] = self.seconds.get(outer, 0.0) - self._note(name, started)

    def _note(self, name: str, started: float) -> float:
        seconds = time.perf_counter() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        return seconds

    def advance(self) -> None:
        """One unit of the step is done."""
        if self.progress:
            self.progress.advance()


def begun(beside: Executor, work: Callable[[], T]) -> Callable[[], T]:
    """Begin a step's work in another thread; return what waits for it, and does it anew where the step is tried again."""
    under_way = [beside.submit(work)]
    return lambda: under_way.pop().result() if under_way else work()
