"""Pictures of clients: a URL stays as it is; base64 is decoded, looked at, and stored beside the warehouse under its hash."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.files import sync_folder

_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.ASCII | re.IGNORECASE)
_LONGEST_URL = 2048
WANTED = "wanted an http or https URL, or a PNG, JPEG, GIF or WebP picture as base64"


class NotAnImage(ValueError):
    """A value that is neither a URL nor a picture; the text says what was wanted."""


def reference(value: str, largest: int) -> tuple[str, bytes | None]:
    """Return what the record keeps of an image, and the picture to store (None for a URL).

    Raises NotAnImage when the value is neither, or the picture has more than `largest` bytes.
    """
    if value.lower().startswith(("http://", "https://")):
        if len(value) > _LONGEST_URL or re.search(r"[\s\x00-\x1f\x7f]", value) or not _has_host(value):
            raise NotAnImage(f"image is no URL; {WANTED}")
        return value, None
    text = re.sub(r"[ \t\r\n]", "", value[found.end() :] if (found := _DATA_URI.match(value)) else value)
    if len(text) > largest * 4 // 3 + 4:
        raise NotAnImage(f"image is over {largest:,} bytes; wanted a smaller picture, or its URL")
    try:
        picture = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotAnImage(f"image is neither URL nor base64; {WANTED}") from None
    if len(picture) > largest:
        raise NotAnImage(f"image is over {largest:,} bytes; wanted a smaller picture, or its URL")
    kind = sniffed(picture)
    if kind is None:
        raise NotAnImage(f"image is no picture that is known by its first bytes; {WANTED}")
    return f"images/{hashlib.sha256(picture).hexdigest()}.{kind}", picture


def sniffed(picture: bytes) -> str | None:
    """Return what the first bytes of a picture say it is: png, jpg, gif or webp; None when they say none of these."""
    for beginning, kind in ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF87a", "gif"), (b"GIF89a", "gif")):
        if picture.startswith(beginning):
            return kind
    return "webp" if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP" else None


def store(beside: Path, kept: str, picture: bytes) -> None:
    """Put a picture where its reference says, in the folder of the warehouse, durably; one that is there is not written again."""
    file = beside / kept
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    fresh = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with fresh.open("wb") as stream:
        stream.write(picture)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.chmod(0o440)
    fresh.replace(file)
    sync_folder(file.parent)


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False
