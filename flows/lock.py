"""One run at a time a home: the lock, and who has it.

The kernel holds the lock (flock), so it ends with its process however that dies. The file beside it only tells people who
that is; nothing is decided by it.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipelines.files import private_files, private_folder
from pipelines.home import Home
from pipelines.problems import HomeBusyError, NightdropError

_ASKED_SECONDS = 0.2
"""How long a run keeps trying: somebody who only asks whether the home is free has the lock for an instant."""

_LOOKED_AGAIN_SECONDS = 2.0


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
    """Have the home for oneself; what is made in it meanwhile is private (`pipelines.files`).

    Raises HomeBusyError, which names the holder, when another process has it. Does not wait for a run: of two nightly runs
    the second has nothing to do that its own next start would not do.
    """
    with private_files(), _locked(home, command):
        yield


@contextmanager
def _locked(home: Home, command: str) -> Iterator[None]:
    try:
        private_folder(home.state)
        lock = FileLock(home.lock, timeout=_ASKED_SECONDS, mode=0o640, fallback_to_soft=False)
        lock.acquire(poll_interval=_ASKED_SECONDS / 4)
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
        with suppress(OSError):  # a run needs no note
            side.write_text(json.dumps(asdict(holder)), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            side.unlink(missing_ok=True)
        lock.release()


@contextmanager
def waiting(home: Home, command: str, patience: float) -> Iterator[None]:
    """Have the home for oneself as soon as it is free; raise HomeBusyError when it is not within that many seconds."""
    ends = time.monotonic() + patience
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(hold(home, command=command))
                break
            except HomeBusyError:
                if time.monotonic() >= ends:
                    raise
            time.sleep(min(_LOOKED_AGAIN_SECONDS, max(0.0, ends - time.monotonic())))
        yield


def holder_of(home: Home) -> Holder | None:
    """Return who has the home, None when nobody does as far as this machine knows.

    The kernel is asked whether the lock is held, since the file that tells of the holder may be left from one that was killed.
    """
    try:
        said = json.loads(_side_file(home).read_text(encoding="utf-8"))
        holder = Holder(**said)
    except (OSError, ValueError, TypeError):
        return None
    return holder if _is_locked(home.lock) else None


def _busy(home: Home) -> str:
    holder = holder_of(home)
    who = str(holder) if holder else "a run that has just begun or is just ending"
    return f"{home.root}: another run has this home: {who}. Nothing was changed. Wait for it to end, then run again."


def _side_file(home: Home) -> Path:
    return home.lock.with_name(f"{home.lock.name}.holder.json")


def _is_locked(lock: Path) -> bool:
    """Tell whether a run has the lock: by asking for a share in it, given back at once."""
    # Not by /proc/locks: it leaves out other containers, and on some file systems (btrfs) it names another device.
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
