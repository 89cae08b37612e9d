"""How a process that works on large columns is set up: one heap, kept, and seldom looked through; nothing that is not needed."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""As glibc's malloc.h has them."""
_NEVER, _AS_EVER = 2**31 - 1, 128 * 1024
"""Bytes from which on memory is given back: those of glibc are the second."""


def keep_one_heap() -> None:
    """Have the C library give all threads memory of one heap.

    With one a thread, as glibc does it, what one thread frees no other takes: reading 3,000,000 events kept 0.5 GB more, and more
    with every chunk. Call it before there are threads: heaps that are there stay, and with more than eight it changes nothing.
    So what a worker of Prefect starts is told by its environment (`prefect.yaml`). Does nothing where the C library is another.
    """
    _set_malloc(_ARENA_MAX, 1)


def keep_what_is_freed() -> None:
    """Have the C library keep memory that is freed, for what is read next.

    A block of a drop and its columns are 100 MB, and the next are as large: given back and asked for again, each page of them is
    cleared once more, a twentieth of a run. Once all is read it goes (`pipelines.heap`). A process that lives on calls
    `give_back_what_is_freed`.
    What a worker of Prefect starts is told by its environment.
    """
    _give_back_from(_NEVER)


def give_back_what_is_freed() -> None:
    """Have the C library give large pieces of memory back as soon as they are freed."""
    _give_back_from(_AS_EVER)


def _give_back_from(size: int) -> None:
    _set_malloc(_MMAP_THRESHOLD, size)
    _set_malloc(_TRIM_THRESHOLD, size)


def _set_malloc(option: int, value: int) -> None:
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(option, value)


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
