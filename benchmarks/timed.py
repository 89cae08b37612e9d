"""Run one command and write down what it cost: seconds from its start to its end, CPU seconds, peak memory.

    python -S benchmarks/timed.py COSTS.json COMMAND …

A process of its own and small on purpose: Linux counts what a parent had in memory at the fork into its child's peak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY = 0.05
"""Seconds between two looks at a command that has children of its own."""


def main() -> None:
    """Measure one command and leave with its exit code."""
    costs, *command = sys.argv[1:]
    started = time.perf_counter()
    child = subprocess.Popen(command)
    tree = _Tree(child.pid)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    peak = max(usage.ru_maxrss * 1024, tree.peak)
    Path(costs).write_text(
        json.dumps({"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": peak}), encoding="utf-8"
    )
    sys.exit(child.returncode)


class _Tree(threading.Thread):
    """Adds up, now and then, what a process and its children have in memory together; idle while there are none."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.peak = 0
        self.start()

    def run(self) -> None:
        while True:
            pids = _family(self.root)
            if len(pids) > 1:  # of a single process the kernel knows the exact peak
                self.peak = max(self.peak, sum(map(_resident, pids)))
            time.sleep(_EVERY)


def _family(pid: int) -> list[int]:
    try:
        children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return [pid]
    return [pid, *(one for child in children for one in _family(int(child)))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


if __name__ == "__main__":
    main()
