"""How whole columns are worked on: by which of Polars' engines, and in threads safe to use with it from their first moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

# The streaming engine, which Polars takes by itself, needs a third of a millisecond to begin, ten times what this one does, and a
# night asks thousands of questions. What does not fit into memory is cut into parts before it comes here.
pl.Config.set_engine_affinity(pl.InMemoryEngine())


def pool(threads: int) -> ThreadPoolExecutor:
    """Return so many threads; whoever takes them ends them."""
    return ThreadPoolExecutor(threads)


# Polars imports these two where it first meets them, and two threads that meet them at once break it (TypeError, seen once in
# some hundred runs). Here they are met under the import's lock, before there is a thread.
pl.DataFrame({"number": np.zeros(1)}).to_arrow()
