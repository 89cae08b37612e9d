"""Copy what lies in an inbox elsewhere into a folder of the inbox here: each file whole and checked, or not at all.

A file is copied under a hidden name, which no run takes for a drop, and gets its own only when size and checksum are right and it
is still the same there. An interrupted copy goes on where it was as long as the file is the same; else it is begun anew. What was
copied once is not copied again until it changes there. Nothing is changed or deleted there; here nothing but its own copies is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipelines.checksums import Checksum
from pipelines.discovery import drop_format, is_ignored
from pipelines.files import read_json, sync_folder, write_json
from pipelines.manifests import SUFFIX as MANIFEST
from pipelines.problems import NightdropError

_LONGEST = 200
"""Bytes of a name: room is left for what stands around it while it is copied."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as it lies there."""

    path: str
    """Relative to the inbox there, with `/`."""
    size: int
    modified: float
    """Seconds since 1970."""
    tag: str = ""
    """What changes with the bytes, where the store has such a thing; without quotes."""

    @property
    def identity(self) -> list[object]:
        """Return what tells one edition from another: a list and a look may give the time with and without fractions."""
        return [self.size, self.tag or int(self.modified)]


class Gone(Exception):
    """A file is there no more, or is another one by now."""


class Store(Protocol):
    """An inbox elsewhere. What is wrong with it comes as NightdropError."""

    def files(self) -> Iterable[Listed]:
        """Return all files, however deep."""

    def look(self, path: str) -> Listed:
        """Return a file as it is now; raises Gone."""

    def checksum(self, listed: Listed) -> Checksum | None:
        """Return what the store has its bytes add up to, None where it does not say; raises Gone."""

    def read(self, listed: Listed, offset: int) -> Iterator[bytes]:
        """Yield a file's bytes from an offset on; raises Gone, also on the way."""


@dataclass(slots=True)
class Fetched:
    """What came of it."""

    copied: list[str] = field(default_factory=list)
    """Paths in the inbox here."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """What was not copied, and why. It is tried again next time."""
    unsummed: int = 0
    """How many of the copies were checked by their size alone, since no checksum is told."""


def fetch(store: Store, folder: Path, notes: Path) -> Fetched:
    """Copy the files of a store that are new or changed into a folder of the inbox; `notes` is a file that remembers them.

    Raises NightdropError when the store cannot be listed.
    """
    remembered = _Notes(notes)
    fetched = Fetched()
    # A manifest before its drop: whole or not, it is judged with it.
    for listed in sorted(store.files(), key=lambda one: (not one.path.endswith(MANIFEST), one.path)):
        problem = _unfit(listed.path)
        if problem is None and (not _is_wanted(listed) or remembered.has(listed)):
            continue
        where = f"{folder.name}/{listed.path}"
        try:
            if problem is None:
                fetched.unsummed += not _copy(store, listed, folder, remembered)
                fetched.copied.append(where)
        except Gone:
            problem = "it changed or went away while it was copied"
        except NightdropError as error:
            problem = str(error)
        except OSError as error:
            problem = f"it cannot be written here: {error.strerror}"
        if problem is not None:
            fetched.problems.append((where, problem))
    return fetched


def _is_wanted(listed: Listed) -> bool:
    *folders, name = listed.path.split("/")
    # Object stores mark a folder by an object without bytes.
    if (listed.size == 0 and drop_format(name) is None) or any(is_ignored(folder, folder=True) for folder in folders):
        return False
    return not is_ignored(name) or (name.endswith(MANIFEST) and not is_ignored(name, folder=True))


def _unfit(path: str) -> str | None:
    """Return why a path cannot be one here: it must not lead out of its folder."""
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..") or "\0" in part for part in parts):
        return "its path is none that may lie in a folder"
    if any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST for part in parts):
        return f"a name of over {_LONGEST} bytes"
    return None


def _copy(store: Store, listed: Listed, folder: Path, notes: _Notes) -> bool:
    """Copy one file and tell whether a checksum was there to check it by; raises NightdropError when it cannot be used."""
    place = folder.joinpath(*PurePosixPath(listed.path).parts)
    part = place.with_name(f".{place.name}.part")
    _make(place.parent)
    _refuse_foreign(place, listed, folder, notes)
    if not notes.is_begun(listed):
        part.unlink(missing_ok=True)
        notes.begin(listed)
    size = _append(part, lambda offset: store.read(listed, offset))
    if store.look(listed.path).identity != listed.identity:
        raise Gone
    if size != listed.size:
        part.unlink()
        raise NightdropError(f"{size} bytes came of {listed.size}; the copy was thrown away")
    checksum = store.checksum(listed)
    if checksum and not checksum.fits(part):
        part.unlink()
        raise NightdropError(
            f"its bytes do not have the {checksum.kind} that is told; the copy was thrown away. Where the store encrypts with "
            "keys of your own its tags are no checksums: say `checksum = false` then"
        )
    os.utime(part, (listed.modified, listed.modified))  # how long it has been quiet is a matter of where it comes from
    part.replace(place)
    sync_folder(place.parent)
    notes.done(listed)
    return checksum is not None


def _refuse_foreign(place: Path, listed: Listed, folder: Path, notes: _Notes) -> None:
    """Refuse a place that is not ours to write: what a sender laid there stays, and no link leads out of the inbox."""
    if not place.parent.resolve().is_relative_to(folder.parent.resolve()):
        raise NightdropError("a link leads its folder out of the inbox; nothing was written")
    if os.path.lexists(place) and not notes.is_ours(listed):
        raise NightdropError(
            "a file of that name lies in the inbox that did not come from there. It was left as it is: move it away"
        )


def _append(part: Path, read: Callable[[int], Iterator[bytes]]) -> int:
    """Append what is missing to a copy; return its size."""
    with part.open("ab") as copy:
        for piece in read(copy.tell()):
            copy.write(piece)
        copy.flush()
        os.fchmod(copy.fileno(), 0o640)
        os.fsync(copy.fileno())
        return copy.tell()


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)


class _Notes:
    """What was copied and what was begun, kept after each file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        known = read_json(file, dict)
        notes = known if isinstance(known, dict) else {}
        self._copied, self._begun = (
            {**kept} if isinstance(kept := notes.get(name), dict) else {} for name in ("copied", "begun")
        )

    def has(self, listed: Listed) -> bool:
        """Tell whether this edition was copied."""
        return bool(self._copied.get(listed.path) == listed.identity)

    def is_ours(self, listed: Listed) -> bool:
        """Tell whether what lies at its path here is a copy of ours."""
        return listed.path in self._copied or listed.path in self._begun

    def is_begun(self, listed: Listed) -> bool:
        """Tell whether a copy of this edition was begun since this machine started; of an older one bytes may be lost."""
        return bool(self._begun.get(listed.path) == [*listed.identity, _boot()])

    def begin(self, listed: Listed) -> None:
        """Note that a copy is begun."""
        self._begun[listed.path] = [*listed.identity, _boot()]
        self._save()

    def done(self, listed: Listed) -> None:
        """Note that it is whole."""
        self._begun.pop(listed.path, None)
        self._copied[listed.path] = listed.identity
        self._save()

    def _save(self) -> None:
        _make(self._file.parent)
        write_json(self._file, {"copied": self._copied, "begun": self._begun})


def _boot() -> str:
    """Return what names this start of the machine. Empty where it has no name: then nothing tells one from another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
