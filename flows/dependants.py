"""What a run starts ends with it, also when the run is killed: a watcher, which outlives it for a moment, sees to that.

A run that ends in any other way stops what it started by itself; then the watcher finds nothing to do. It knows the processes by
a mark in the environment they were started with, so none is missed that was only just starting, and none is taken for another.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

MARK = "STARTED_BY_A_RUN"
_GRACE_SECONDS = 5.0
"""How long a process may take to end when it is asked to."""


def end_with_this_process() -> None:
    """Have every process that is started from now on end with this one, however it ends (Linux; elsewhere nothing is done)."""
    if not Path("/proc/self/environ").exists() or not hasattr(os, "pidfd_open"):
        return
    mark = uuid4().hex
    # A session of its own: Ctrl-C and a closed terminal are not for the watcher.
    watcher = subprocess.Popen(  # noqa: S603  # ourselves
        [sys.executable, "-I", "-S", __file__, mark], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    os.environ[MARK] = mark
    # What is registered later, such as the stop of Prefect's server, is done before.
    atexit.register(watcher.communicate)


def _watch(mark: str) -> None:
    """Wait till whoever started us is gone, then end what carries the mark."""
    sys.stdin.buffer.read()
    sought = f"{MARK}={mark}".encode()
    for _ in range(3):  # who is asked to end may have just started another
        found = [handle for folder in Path("/proc").glob("[0-9]*") if (handle := _marked(int(folder.name), sought)) is not None]
        if not found:
            return
        for handle in found:
            _end(handle)


def _marked(pid: int, sought: bytes) -> int | None:
    """Return a handle on a process that carries the mark, None for any other."""
    with suppress(OSError):  # gone by now, or another user's
        handle = os.pidfd_open(pid)  # before looking: a number may be another's the next moment, a handle never
        with suppress(OSError):
            if sought in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return handle
        os.close(handle)
    return None


def _end(handle: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        ended, _, _ = select.select([handle], [], [], _GRACE_SECONDS)
        if ended:
            break
    os.close(handle)


if __name__ == "__main__":
    _watch(sys.argv[1])
