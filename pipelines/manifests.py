"""Sidecars that say what a drop should be: `<name>.manifest.json` with `sha256` and `lines`, both optional."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import orjson

from pipelines.inbox import open_file
from pipelines.problems import DropHeldError

SUFFIX = ".manifest.json"
_NONE = (errno.ENOENT, errno.ENAMETOOLONG)
"""There is none; where the drop's own name leaves no room for it nobody could send one."""
_LARGEST = 1024 * 1024
_SHA256_DIGITS = 64


def read_manifest(drop: Path, inbox: Path) -> dict[str, Any] | None:
    """Return what a drop's sidecar says (`sha256`, `lines`), or under `problem` why it cannot be understood; None without one."""
    file = drop.with_name(drop.name + SUFFIX)
    try:
        with os.fdopen(open_file(inbox, file), "rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            return {"problem": f"{file.name} is larger than 1 MiB"}
        said = orjson.loads(content)
    except DropHeldError as held:
        return {"problem": f"{file.name}: {held.detail}"}
    except OSError as error:
        return None if error.errno in _NONE else {"problem": f"{file.name} cannot be read: {error.strerror}"}
    except orjson.JSONDecodeError as error:
        return {"problem": f"{file.name} is not JSON: {error}"}
    return _understood(file.name, said)


def _understood(name: str, said: object) -> dict[str, Any]:
    if not isinstance(said, dict):
        return {"problem": f'{name} must hold an object such as {{"sha256": "…", "lines": 12}}'}
    sha256, lines = said.get("sha256"), said.get("lines")
    if sha256 is not None and not _is_sha256(sha256):
        return {"problem": f"{name}: sha256 must be {_SHA256_DIGITS} hexadecimal digits (got {sha256!r:.80})"}
    if lines is not None and (type(lines) is not int or lines < 0):
        return {"problem": f"{name}: lines must be a whole number (got {lines!r:.80})"}
    return {"sha256": sha256, "lines": lines}


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == _SHA256_DIGITS and all(digit in "0123456789abcdefABCDEF" for digit in value)
