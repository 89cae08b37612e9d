"""The keys of the API: made once, shown once, kept as salted hashes, revoked at once.

A secret has 256 random bits, so no list of likely secrets can be tried against a stolen file: one salted SHA-256 is as good
as a slow password hash here, and costs a request a microsecond instead of 50 ms.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
from filelock import FileLock

from pipelines.files import read_json, sync_folder
from pipelines.problems import UsageError

_PREFIX = "nd"
_NOBODY = b"\0" * 32


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key: not the secret."""

    name: str
    id: str
    salt: str
    digest: str
    read_only: bool
    created_at: str
    revoked_at: str | None = None


class Keys:
    """The file of keys, read again whenever it changes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._by_id: dict[str, Key] = {}

    def new(self, name: str, *, read_only: bool = False) -> str:
        """Make a key and return its secret, which is not kept. Raises UsageError when a standing key has the name."""
        if not name.strip() or not name.isprintable():
            raise UsageError(f"--name must be printable and not blank (got {name!r}). No key was made.")
        secret_id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(32), secrets.token_hex(16)
        whole = f"{_PREFIX}_{secret_id}_{secret}"
        key = Key(name, secret_id, salt, _digest(salt, whole).hex(), read_only, _now())
        with self._changing() as keys:
            if any(other.name == name and not other.revoked_at for other in keys):
                raise UsageError(f"there is a key named {name!r} already. Take another name, or `nightdrop key revoke` it first.")
            keys.append(key)
        return whole

    def revoke(self, name: str) -> Key:
        """End the standing key of that name or id. Raises UsageError when there is none."""
        with self._changing() as keys:
            for place, key in enumerate(keys):
                if name in (key.name, key.id) and not key.revoked_at:
                    keys[place] = replace(key, revoked_at=_now())
                    return keys[place]
        raise UsageError(f"no standing key is named {name!r}; `nightdrop key list` shows them. Nothing was changed.")

    def all(self) -> list[Key]:
        """Return every key ever made, oldest first."""
        found = read_json(self._file, list)
        return [Key(**row) for row in found] if isinstance(found, list) else []

    def holder(self, secret: str) -> Key | None:
        """Return the standing key that a secret is; takes as long for a wrong one."""
        self._refresh()
        key = self._by_id.get(secret.split("_")[1] if secret.count("_") >= 2 else "")
        wanted = bytes.fromhex(key.digest) if key else _NOBODY
        same = hmac.compare_digest(_digest(key.salt if key else "", secret), wanted)
        return key if same and key and not key.revoked_at else None

    def _refresh(self) -> None:
        try:
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            seen = (0, 0)
        if seen != self._seen:
            self._by_id = {key.id: key for key in self.all()}
            self._seen = seen

    @contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        with FileLock(self._file.with_suffix(".lock"), mode=0o600):
            keys = self.all()
            yield keys
            fresh = self._file.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(orjson.dumps([asdict(key) for key in keys], option=orjson.OPT_INDENT_2))
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(self._file)
            sync_folder(self._file.parent)


def _digest(salt: str, secret: str) -> bytes:
    return hmac.digest(salt.encode(), secret.encode("utf-8", "surrogateescape"), hashlib.sha256)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
