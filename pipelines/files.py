"""Small files that must be whole or absent: written beside, synced and renamed; read with a doubt about what is in them."""

from __future__ import annotations

import os
from pathlib import Path

import orjson


def write_json(file: Path, content: object) -> None:
    """Put JSON in a file's place, durably: whoever reads it finds the old content or the new."""
    beside = file.with_name(f".{file.name}.tmp")
    with beside.open("wb") as stream:
        stream.write(orjson.dumps(content))
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)
    sync_folder(file.parent)


def read_json(file: Path, shape: type) -> object:
    """Return what a JSON file holds when it is of that type; None when it is missing, damaged or holds something else."""
    try:
        content = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return content if isinstance(content, shape) else None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
