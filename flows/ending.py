"""How a process of ours ends: all that is to happen at its end happens, then its memory goes as a whole."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def ends_at_once() -> Callable[[int], NoReturn]:
    """Return what takes the place of `sys.exit`: it leaves without taking apart what was imported.

    After a run Python looks through 140,000 objects of its libraries, several times, and frees them one by one: 0.3 s for memory
    that goes with the process anyway. Threads are waited for and all that is registered with `atexit` is called as ever, if this
    is called before it is: what is registered first is called last. Files, databases and locks are closed by then, by `with`.
    """
    codes: list[int] = []

    def end() -> None:
        if not codes:  # an error that nobody caught: it has an exit code of its own
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):  # Python's own end meets it again, and has words and an exit code for it
            return
        os._exit(codes[-1])

    def leave(code: int) -> NoReturn:
        codes.append(code)
        sys.exit(code)

    atexit.register(end)
    return leave
