"""A scratch copy of a home, in which anything can be tried: same inbox, same archive and log, its own warehouse and book."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.files import private_folder
from pipelines.home import Home

_SCRATCH = "scratch-"


def sweep(home: Home) -> None:
    """Remove what a killed block left, and what DuckDB kept for it out of memory. Only for the run that has the lock."""
    for left in (*home.state.glob(f"{_SCRATCH}*"), *home.state.glob(f"{home.working.name}.tmp")):
        shutil.rmtree(left)


@contextmanager
def scratch_copy(home: Home, *, with_decisions: bool = True) -> Iterator[Home]:
    """Give a copy of the home that ends with the block; without its decisions it has only the original bytes.

    Files that never change once written are linked, not copied. What a killed block left is removed by the next run.
    """
    private_folder(home.state)
    sweep(home)
    with tempfile.TemporaryDirectory(dir=home.state, prefix=_SCRATCH) as folder:
        copy = Home(Path(folder))
        copy.state.mkdir(parents=True)
        copy.inbox.symlink_to(home.inbox.resolve(), target_is_directory=True)
        _link(home.archive, copy.archive)
        _link(home.state / "bounces", copy.state / "bounces")
        if with_decisions:
            _link(home.log, copy.log)
            _link(home.book, copy.book)
            for file in (home.working, home.state / "seen.json"):
                if file.exists():
                    shutil.copyfile(file, copy.state / file.name)
        yield copy


def _link(folder: Path, copy: Path) -> None:
    if folder.exists():
        shutil.copytree(folder, copy, copy_function=os.link)
