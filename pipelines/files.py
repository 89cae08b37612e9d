"""What we make in a home: for its owner's group at most, and small files whole or absent (written beside, synced, renamed)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from pipelines.problems import NightdropError

_KEY_BYTES = 32
FORBIDDEN = 0o027
"""What files and folders with people's data allow nobody: the group to write, others anything."""


def keep_files_private() -> int:
    """Make whatever this process and those it starts make from now on private; return the umask of before."""
    before = os.umask(0o077)
    os.umask(before | FORBIDDEN)
    return before


@contextmanager
def private_files() -> Iterator[None]:
    """Make every file and folder of the block, DuckDB's and Parquet's too, for the owner's group to read at most.

    Whatever the umask of the caller; a stricter one stands. It is the process's, so no other thread may make files meanwhile.
    """
    before = keep_files_private()
    try:
        yield
    finally:
        os.umask(before)


def private_folder(folder: Path) -> None:
    """Make a folder that is private; one that is there and open wider, made by hand or of old, is closed.

    Raises PermissionError when it is another user's and open wider.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & FORBIDDEN:
        folder.chmod(mode & ~FORBIDDEN)


def write_json(file: Path, content: object) -> None:
    """Put JSON in a file's place, as `replace` does."""
    replace(file, orjson.dumps(content))


def replace(file: Path, content: bytes) -> None:
    """Put bytes in a file's place, durably: whoever reads it finds the old content or the new.

    What a kill leaves beside it goes with the next time.
    """
    beside = file.with_name(f".{file.name}.tmp")
    with beside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)
    sync_folder(file.parent)


def secret(file: Path) -> bytes:
    """Return the secret key in a file, made once: 32 bytes that only the owner may read.

    Raises NightdropError when something else is there: who made it may still need it.
    """
    if not file.exists():
        beside = file.with_name(f".{file.name}.tmp")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(os.urandom(_KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
        sync_folder(file.parent)
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise NightdropError(
            f"{file}: it holds {len(key)} bytes, wanted a key of {_KEY_BYTES}. Nothing was published. Put it back from a backup, "
            "or remove it: the next run makes a new one, and every token becomes another."
        )
    return key


def read_json(file: Path, shape: type) -> object:
    """Return what a JSON file holds when it is of that type; None when it is missing, damaged or holds something else."""
    try:
        content = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return content if isinstance(content, shape) else None


def sync_file(file: Path) -> None:
    """Make the bytes of a file durable."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
