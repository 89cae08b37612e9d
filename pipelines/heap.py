"""Memory that the C library keeps although nobody uses it."""

from __future__ import annotations

import ctypes
import sys


def trim() -> None:
    """Give back to the system what was freed: what comes next takes its memory elsewhere. Does nothing but with glibc."""
    if sys.platform == "linux" and (malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        malloc_trim(0)
