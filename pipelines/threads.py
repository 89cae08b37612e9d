"""Threads for work on whole columns, safe to use with Polars from their first moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl


def pool(threads: int) -> ThreadPoolExecutor:
    """Return so many threads; whoever takes them ends them."""
    return ThreadPoolExecutor(threads)


# Polars imports these two where it first meets them, and two threads that meet them at once break it (TypeError, seen once in
# some hundred runs). Here they are met under the import's lock, before there is a thread.
pl.DataFrame({"number": np.zeros(1)}).to_arrow()
