"""Which files of the inbox are drops, in the order of their positions, and which of them cannot be read.

The inbox is only looked at: nothing in it is opened, changed or moved here.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

from pipelines.journals import is_journal
from pipelines.problems import NightdropError

Format = Literal["jsonl", "csv"]
Compression = Literal["gz", "zst"]
PathKey = tuple[tuple[tuple[int, int, str, str], ...], ...]

_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".zst": "zst"}
_IGNORED_PREFIXES = (".", "_")
_IGNORED_SUFFIXES = (".tmp", ".part", ".crdownload", ".filepart", ".md5", ".done", ".ok", ".md", ".manifest.json")

# A look-ahead matches at every position, so that an invalid date does not hide a valid one that overlaps it.
_DATE = re.compile(
    r"(?<![0-9])(?=(?:(\d{4})-(\d{2})-(\d{2})|(\d{4})(\d{2})(\d{2})(?:\d{6})?)(?![0-9]))",
    re.ASCII,
)
_RUN = re.compile(r"([0-9]+)|[^0-9]+")
_DEEPEST = 100
"""Folders in folders that are looked into: a sender could make so many that they exhaust what looks."""
_AFTER_ALL = (2, 0, "", "")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file (or a folder that cannot be listed) found in the inbox."""

    path: str
    """Relative to the inbox, with `/`; bytes that are no UTF-8 are written `\\xNN`."""
    location: Path
    business_date: date | None
    format: Format | None
    compression: Compression | None
    bytes: int
    mtime_ns: int
    hold: tuple[str, str] | None
    """Reason code and detail of the first that applies: `not_a_file`, `unknown_format`, `no_business_date`, `unreadable`."""


def business_date(relative_path: str) -> date | None:
    """Return the first valid date in the path that touches no other digit (contract section 2), None without one."""
    for match in _DATE.finditer(relative_path):
        year, month, day = (int(part) for part in match.groups() if part is not None)
        try:
            return date(year, month, day)
        except ValueError:
            continue
    return None


def path_key(path: str) -> PathKey:
    """Return what paths are sorted by (contract section 1, Position): numbers as numbers, and before other characters.

    The API's journal comes after every other path.
    """
    last = ((_AFTER_ALL,),) if is_journal(path) else ()
    return last + tuple(tuple(_run_key(run) for run in _RUN.finditer(segment)) for segment in path.split("/"))


def _run_key(run: re.Match[str]) -> tuple[int, int, str, str]:
    if run[1] is None:
        return (1, 0, run[0], "")
    # Two numbers without leading zeros compare by length, then by digits: no limit on how many digits there are.
    number = run[1].lstrip("0")
    return (0, len(number), number, run[1])


def drop_format(name: str) -> tuple[Format, Compression | None] | None:
    """Return format and compression that the suffix of a file's name states; None when it states none we read."""
    for ending, compression in _COMPRESSIONS.items():
        if name.endswith(ending):
            inner = drop_format(name.removesuffix(ending))
            return (inner[0], compression) if inner and inner[1] is None else None
    for ending, format_ in _FORMATS.items():
        if name.endswith(ending):
            return format_, None
    return None


def is_ignored(name: str, *, folder: bool = False) -> bool:
    """Tell whether a name says that this is no drop.

    The endings speak of files: a folder named `load.tmp` is looked into, since leaving it out would lose drops without a word.
    """
    return name.startswith(_IGNORED_PREFIXES) or (not folder and name.endswith(_IGNORED_SUFFIXES))


def paths_in(inbox: Path) -> list[str]:
    """Return the paths of all drops of the inbox; none where it cannot be listed."""
    try:
        return [found.path for found in discover(inbox)]
    except NightdropError:
        return []


def discover(inbox: Path) -> list[Candidate]:
    """Return all drops of the inbox, those to be held included, by `path_key`.

    Raises NightdropError when there is no inbox folder or it cannot be listed.
    """
    try:
        root = inbox.resolve(strict=True)
        os.scandir(root).close()
    except FileNotFoundError:
        raise NightdropError(
            f"no inbox folder at {str(inbox)!r}; nothing was read. Create it, or make a whole home with `nightdrop init`"
        ) from None
    except NotADirectoryError:
        raise NightdropError(f"the inbox {str(inbox)!r} must be a folder, it is a file; nothing was read") from None
    except PermissionError as error:
        raise NightdropError(
            f"the inbox folder {str(inbox)!r} cannot be listed ({error.strerror}); nothing was read. Give this user read access"
        ) from error
    return sorted(_told_apart(list(_walk(root, root, (root,)))), key=lambda candidate: path_key(candidate.path))


def _walk(root: Path, folder: Path, above: tuple[Path, ...]) -> Iterator[Candidate]:
    """Yield what lies in `folder`; `above` are the real folders on the way to it, itself included."""
    if len(above) > _DEEPEST:
        yield _candidate(root, folder, None, ("unreadable", f"it lies more than {_DEEPEST} folders deep, and is not looked into"))
        return
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return
    except OSError as error:
        yield _candidate(root, folder, None, ("unreadable", f"the folder cannot be listed: {error.strerror}"))
        return
    for name in names:
        yield from _look_at(root, folder / name, above)


def _look_at(root: Path, location: Path, above: tuple[Path, ...]) -> Iterator[Candidate]:
    if is_ignored(location.name, folder=True):
        return
    link = False
    try:
        link = location.is_symlink()
        status = location.stat()
        real = Path(os.path.realpath(location, strict=True))  # resolve() has another error for a loop that came just now
    except FileNotFoundError:
        if link and not is_ignored(location.name):
            yield _candidate(root, location, None, ("not_a_file", "a symlink to nothing"))
        return  # any other file went away while we looked: an inbox file that disappears changes nothing
    except OSError as error:
        if not is_ignored(location.name):
            reason = "not_a_file" if link else "unreadable"
            yield _candidate(root, location, None, (reason, f"cannot be looked at: {error.strerror}"))
        return
    folder = stat.S_ISDIR(status.st_mode)
    if is_ignored(location.name, folder=folder):
        return
    if not real.is_relative_to(root):
        yield _candidate(root, location, status, ("not_a_file", "a symlink that leads out of the inbox"))
    elif folder and real in above:
        yield _candidate(root, location, status, ("not_a_file", "a symlink to a folder that it lies in"))
    elif folder:
        yield from _walk(root, location, (*above, real))
    else:
        yield _candidate(root, location, status, _not_a_file(status))


def _not_a_file(status: os.stat_result) -> tuple[str, str] | None:
    if stat.S_ISREG(status.st_mode):
        return None
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
    return ("not_a_file", f"{kinds.get(stat.S_IFMT(status.st_mode), 'something else')}, not a regular file")


def _candidate(root: Path, location: Path, status: os.stat_result | None, hold: tuple[str, str] | None) -> Candidate:
    path = os.fsencode(location.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
    shape = drop_format(location.name)
    day = business_date(path)
    return Candidate(
        path=path,
        location=location,
        business_date=day,
        format=shape[0] if shape else None,
        compression=shape[1] if shape else None,
        bytes=status.st_size if status else 0,
        mtime_ns=status.st_mtime_ns if status else 0,
        hold=hold or held_by_name(path) or _unreadable(location),
    )


def _told_apart(candidates: list[Candidate]) -> list[Candidate]:
    """Hold a file whose name is no UTF-8 and, written out, reads like another's: two drops cannot have one path."""
    paths = Counter(candidate.path for candidate in candidates)
    return [
        replace(
            candidate,
            path=f"{candidate.path}~{hashlib.sha256(os.fsencode(candidate.location)).hexdigest()[:8]}",
            hold=("not_a_file", "its name is no UTF-8 and reads like that of another file; rename one of them"),
        )
        if paths[candidate.path] > 1 and not _is_utf8(candidate.location)
        else candidate
        for candidate in candidates
    ]


def _is_utf8(location: Path) -> bool:
    try:
        os.fsencode(location).decode()
    except UnicodeDecodeError:
        return False
    return True


def held_by_name(path: str) -> tuple[str, str] | None:
    """Return why a drop of that path is held whatever is in it; what only its sender can mend comes first."""
    if drop_format(path) is None:
        wanted = ", ".join(_FORMATS)
        return ("unknown_format", f"{path!r} must end in {wanted} (lower case), alone or with .gz or .zst")
    if business_date(path) is None:
        return ("no_business_date", "no valid YYYY-MM-DD or YYYYMMDD in the path")
    return None


def _unreadable(location: Path) -> tuple[str, str] | None:
    return None if os.access(location, os.R_OK) else ("unreadable", "no permission to read the file")
