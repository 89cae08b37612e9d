"""How a process that works on large columns is set up: one heap, seldom looked through; no thread and no library for nothing."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

_ARENA_MAX = -8
"""As glibc's malloc.h has it."""


def keep_one_heap() -> None:
    """Have the C library give all threads memory of one heap.

    With one a thread, as glibc does it, what one thread frees no other takes: reading 3,000,000 events kept 0.5 GB more, and more
    with every chunk. Call it before there are threads: heaps that are there stay, and with more than eight it changes nothing.
    So what a worker of Prefect starts is told by its environment (`prefect.yaml`). Does nothing where the C library is another.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_ARENA_MAX, 1)


def look_for_cycles_seldom() -> None:
    """Have Python look for objects that only name one another after 50,000 new ones, not after 700.

    A thousand modules are imported before the first drop is looked at, and looking through them again and again took a sixth of
    that. Frames are in no cycle: they go when the last who names them does, however seldom is looked.
    """
    gc.set_threshold(50_000)


def multiply_in_one_thread() -> None:
    """Have NumPy's OpenBLAS start no threads, unless the caller's environment says how many.

    Each spins for a tenth of a second before it sleeps, and nothing here multiplies matrices. Call it before NumPy is imported.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def leave_test_libraries_alone() -> None:
    """Have nobody import Hypothesis, which Pandera does wherever it is installed: a tenth of a second, for tests alone."""
    sys.modules.setdefault("hypothesis", None)  # type: ignore[arg-type]  # what Python takes for a library that is not there
