"""The published warehouse is always one whole committed state of the working one: copy, check, fsync, rename, fsync.

A reader that has the old file open goes on reading it; one that comes later gets the new one; nobody waits.
Call it with the home's lock held: two publications at once would take each other's copy for a dead one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson

from pipelines import database
from pipelines.files import sync_file, sync_folder
from pipelines.masking import write_masked
from pipelines.problems import NightdropError

MODE = 0o440
"""Nobody writes. (Root may all the same: what it writes lasts until the next publication.)"""


@dataclass(frozen=True, slots=True)
class Publication:
    """What was published."""

    path: Path
    run_id: str | None
    """The last run in it; none in a warehouse that never ran."""
    bytes: int


@dataclass(frozen=True, slots=True)
class _Identity:
    """What tells a file from another one, or from itself after a write, without reading it."""

    size: int
    mtime_ns: int
    inode: int
    mode: int


def publish(working: Path, published: Path) -> Publication:
    """Put a copy of the working warehouse in the place of the published one, atomically.

    The working file is committed, checkpointed and closed (`database.seal`). Whenever this is killed, the published
    file is the old one or the new one, whole, and `is_published` says whether it must be called again.
    Raises NightdropError when the working file is missing or not sealed, or the copy cannot be made; the published file
    is then the old one.
    """
    _assert_sealed(working)
    with _acting_on(published):
        published.parent.mkdir(parents=True, exist_ok=True)
        copy = _copy_path(published)
        _remove(copy)  # of a publication that was killed
        try:
            source = _copy(working, copy)
            run_id = _check(copy, source.size)
            _put_in_place(copy, published)
        except BaseException:
            _remove(copy)
            raise
        result = _identify(published, follow=False)
        _write_marker(_marker_path(working), {"run_id": run_id, "source": source, "published": result})
    return Publication(published, run_id, source.size)


def publish_masked(working: Path, published: Path, key: bytes) -> None:
    """Put the masked tables of the working warehouse in the place of the masked file, atomically (`pipelines.masking`).

    Call it before `publish`: then the masked file is never older than the other. Raises NightdropError like `publish`.
    """
    _assert_sealed(working)
    with _acting_on(published):
        copy = _copy_path(published)
        withdraw(copy)  # of a publication that was killed
        try:
            write_masked(working, copy, key)
            copy.chmod(MODE)
            with copy.open("rb") as file:
                os.fsync(file.fileno())
            _put_in_place(copy, published)
        except BaseException:
            withdraw(copy)
            raise


def withdraw(published: Path) -> None:
    """Remove a database file that is not to be there any more, and what lies beside it."""
    for file in (published, *_foreign_logs(published)):
        _remove(file)


def is_published(working: Path, published: Path) -> bool:
    """Tell whether the published file is the last publication of the working file, untouched since.

    False after a run that was killed between commit and publication, and when somebody deleted, replaced, opened up or
    wrote to the published file, or left a write-ahead log beside it. Looks at no content.
    """
    try:
        marker = orjson.loads(_marker_path(working).read_bytes())
        return (
            not _foreign_logs(published)
            and _log_bytes(working) == 0
            and marker["source"] == asdict(_identify(working))
            and marker["published"] == asdict(_identify(published, follow=False))
        )
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError, KeyError, TypeError):
        return False


def _put_in_place(copy: Path, published: Path) -> None:
    # Before the rename: DuckDB would try a stale write-ahead log on the new file, and refuse to open it or,
    # worse, apply it. The old file without the log is what was published.
    _remove_foreign_logs(published)
    copy.replace(published)
    sync_folder(published.parent)


def _assert_sealed(working: Path) -> None:
    if not working.is_file():
        raise NightdropError(
            f"{working}: there is no working warehouse to publish. `nightdrop rebuild` makes it out of the archive."
        )
    if left := _log_bytes(working):
        raise NightdropError(
            f"{working}.wal: the working warehouse was not checkpointed ({left} bytes wait in its log); a copy would "
            "lack them. Nothing was published. Run again: opening it takes the log in."
        )


def _copy(working: Path, copy: Path) -> _Identity:
    """Copy the bytes, safe on disk when it returns; give the identity of what was copied."""
    before = _identify(working)
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    shutil.copyfile(working, copy)
    copy.chmod(MODE)
    sync_file(copy)
    if _identify(working) != before:
        raise NightdropError(
            f"{working}: it changed while it was copied; wanted it closed. Nothing was published. End the process that "
            "writes to it, then run again."
        )
    return before


def _check(copy: Path, size: int) -> str | None:
    """Open the copy as an analyst would and give its last run."""
    if (written := copy.stat().st_size) != size:
        raise NightdropError(
            f"{copy}: the copy has {written} bytes, wanted {size}. Nothing was published. Look whether the disk is "
            "full, then run again."
        )
    con = database.connect(copy, read_only=True)
    try:
        # By the order of insertion, not by the clock, which may jump back.
        rows = con.execute("SELECT run_id FROM runs ORDER BY rowid DESC LIMIT 1").fetchall()
    except duckdb.Error as error:
        raise NightdropError(
            f"{copy}: the copy does not read as a warehouse ({error}). Nothing was published. "
            "`nightdrop rebuild` makes the working warehouse again out of the archive."
        ) from error
    finally:
        con.close()
    return str(rows[0][0]) if rows else None


def _write_marker(marker: Path, content: dict[str, Any]) -> None:
    fresh = marker.with_name(f"{marker.name}.new")
    with fresh.open("wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(marker)


def _identify(path: Path, *, follow: bool = True) -> _Identity:
    found = path.stat(follow_symlinks=follow)
    return _Identity(found.st_size, found.st_mtime_ns, found.st_ino, found.st_mode)


def _copy_path(published: Path) -> Path:
    return published.with_name(f".{published.name}.publishing")


def _marker_path(working: Path) -> Path:
    return working.with_name("published.json")


def _log_bytes(database_file: Path) -> int:
    real = database_file.resolve()  # DuckDB keeps the log beside the file that a link leads to
    try:
        return real.with_name(f"{real.name}.wal").stat().st_size
    except FileNotFoundError:
        return 0


def _foreign_logs(published: Path) -> list[Path]:
    """List what a client that wrote left beside the published file: DuckDB's log and the one of a checkpoint."""
    beside = (published.with_name(f"{published.name}.wal{suffix}") for suffix in ("", ".checkpoint", ".recovery"))
    return [path for path in beside if os.path.lexists(path)]


def _remove_foreign_logs(published: Path) -> None:
    for path in _foreign_logs(published):
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


@contextmanager
def _acting_on(published: Path) -> Generator[None]:
    """Turn what the file system refuses into words."""
    try:
        yield
    except OSError as error:
        raise NightdropError(
            f"{published}: could not publish ({error}). Readers have one whole warehouse, most likely that of "
            "before; the run's work is safe in the working one. Free disk space or correct the rights of the "
            "folder, then run again."
        ) from error
