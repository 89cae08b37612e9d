"""One run at a time a home: the lock, and who has it.

The kernel holds the lock (flock), so it ends with its process however that dies. The file beside it only tells people who
that is; nothing is decided by it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.home import Home
from pipelines.problems import HomeBusyError, NightdropError


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a home."""

    pid: int
    command: str
    started_at: str
    host: str

    def __str__(self) -> str:
        """Return it in the words of a message."""
        return f"`{self.command}` (process {self.pid} on {self.host}, since {self.started_at})"


@contextmanager
def hold(home: Home, *, command: str) -> Iterator[None]:
    """Have the home for oneself.

    Raises HomeBusyError, which names the holder, when another process has it. Does not wait: of two nightly runs the
    second has nothing to do that its own next start would not do.
    """
    try:
        home.state.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = FileLock(home.lock, timeout=0, mode=0o640, fallback_to_soft=False)
        lock.acquire()
    except Timeout:
        raise HomeBusyError(_busy(home)) from None
    except OSError as error:
        raise NightdropError(
            f"{home.lock}: cannot be locked ({error.strerror or error}). Nothing was changed. A home must lie on a file "
            "system with locks (flock) where this user may write data/state/."
        ) from error
    side = _side_file(home)
    try:
        holder = Holder(os.getpid(), command, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", platform.node())
        side.write_text(json.dumps(asdict(holder)), encoding="utf-8")
        yield
    finally:
        side.unlink(missing_ok=True)
        lock.release()


def holder_of(home: Home) -> Holder | None:
    """Return who has the home, None when nobody does. Takes no lock, so a run never stumbles over one who only asks."""
    try:
        said = json.loads(_side_file(home).read_text(encoding="utf-8"))
        holder = Holder(**said)
    except (OSError, ValueError, TypeError):
        return None
    if holder.host == platform.node() and not _runs(holder.pid):
        return None
    return holder


def _busy(home: Home) -> str:
    holder = holder_of(home)
    who = str(holder) if holder else "a run that has just begun or is just ending"
    return f"{home.root}: another run has this home: {who}. Nothing was changed. Wait for it to end, then run again."


def _side_file(home: Home) -> Path:
    return home.lock.with_name(f"{home.lock.name}.holder.json")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
