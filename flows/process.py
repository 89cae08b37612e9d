"""How a process that works on large columns is set up: seldom looked through; no thread and no library for nothing."""

from __future__ import annotations

import gc
import os
import sys


def look_for_cycles_seldom() -> None:
    """Have Python look for objects that only name one another after 200,000 new ones, not after 700.

    A thousand modules are imported before the first drop is looked at, and looking through them again and again took a sixth of
    that; what a run keeps of 40,000 rejections, another twentieth of a second. Frames are in no cycle: they go when the last who
    names them does, however seldom is looked.
    """
    gc.set_threshold(200_000)


def multiply_in_one_thread() -> None:
    """Have NumPy's OpenBLAS start no threads, unless the caller's environment says how many.

    Each spins for a tenth of a second before it sleeps, and nothing here multiplies matrices. Call it before NumPy is imported.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def leave_test_libraries_alone() -> None:
    """Have nobody import Hypothesis, which Pandera does wherever it is installed: a tenth of a second, for tests alone."""
    sys.modules.setdefault("hypothesis", None)  # type: ignore[arg-type]  # what Python takes for a library that is not there
