"""What a store says that a file's bytes add up to, held against a file here."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum of a whole file."""

    kind: Literal["md5", "crc32c"]
    digest: bytes

    def fits(self, file: Path) -> bool:
        """Tell whether a file has it."""
        sum_ = self._begun()
        with file.open("rb") as copy:
            while piece := copy.read(_PIECE):
                sum_.update(piece)
        return bool(sum_.digest() == self.digest)

    def _begun(self) -> Any:
        if self.kind == "md5":
            return hashlib.md5(usedforsecurity=False)
        from google_crc32c import Checksum as Crc32c

        return Crc32c()  # type: ignore[no-untyped-call]  # it ships no types


def checksum_told(headers: Mapping[str, str]) -> Checksum | None:
    """Return the checksum that the headers of Google's or Azure's answer tell, the MD5 where there are two."""
    told = dict(one.strip().split("=", 1) for one in headers.get("x-goog-hash", "").split(",") if "=" in one)
    if md5 := headers.get("content-md5") or told.get("md5"):
        return Checksum("md5", b64decode(md5))
    return Checksum("crc32c", b64decode(told["crc32c"])) if "crc32c" in told else None
