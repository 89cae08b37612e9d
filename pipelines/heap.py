"""The memory of the C library: one heap for all threads, kept while drops are read, given back after. Only glibc is told.

What a worker of Prefect starts is told the same by its environment (`prefect.yaml`).
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""As glibc's malloc.h has them."""
_NEVER, _AS_EVER = 2**31 - 1, 128 * 1024
"""Bytes from which on memory is given back: those of glibc are the second."""


def keep_one_heap() -> None:
    """Give all threads memory of one heap.

    With one a thread, as glibc does it, what one thread frees no other takes: reading 3,000,000 events kept 0.5 GB more, and more
    with every chunk. Call it before there are threads: heaps that are there stay, and with more than eight it changes nothing.
    """
    _call("mallopt", _ARENA_MAX, 1)


def keep_what_is_freed() -> None:
    """Keep memory that is freed, for what is read next.

    A block of a drop and its columns are 100 MB, and the next are as large: given back and asked for again, each page of them is
    cleared once more, a twentieth of a run. A process that lives on calls `give_back_what_is_freed`.
    """
    _give_back_from(_NEVER)


def give_back_what_is_freed() -> None:
    """Give large pieces of memory back as soon as they are freed."""
    _give_back_from(_AS_EVER)


def trim() -> None:
    """Give back what was freed and kept until now: what comes next takes its memory elsewhere."""
    _call("malloc_trim", 0)


def _give_back_from(size: int) -> None:
    _call("mallopt", _MMAP_THRESHOLD, size)
    _call("mallopt", _TRIM_THRESHOLD, size)


def _call(name: str, *arguments: int) -> None:
    if sys.platform == "linux" and (function := getattr(ctypes.CDLL(None), name, None)):
        function(*arguments)
