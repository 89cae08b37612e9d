"""The original bytes of every drop, named by their SHA-256: once stored they are never changed.

The only door to archived bytes. Whatever a damaged file does on the way out is a held drop, not a crash.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from pipelines import threads
from pipelines.files import sync_file, sync_folder
from pipelines.inbox import open_file
from pipelines.problems import DropHeldError, NightdropError

_PIECE = 1024 * 1024
_IN_KERNEL = 64 * 1024 * 1024
"""So much is copied at a time where nobody is waited for."""
# A few compressed bytes may stand for a great many: 4 KiB of zstd make 128 MiB at worst.
_ZSTD_PIECE = 4096
_ATTEMPTS = 3
_INCOMING = ".incoming-"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the archive keeps of one file."""

    sha256: str
    bytes: int


class Archive:
    """A folder of files named by their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arriving: dict[str, tuple[Path, Future[None]]] = {}
        """Whole copies by their hash, on their way to the disk."""

    def path(self, sha256: str) -> Path:
        """Return where the bytes of that hash lie, or would lie."""
        arriving = self._arriving.get(sha256)
        return arriving[0] if arriving else self._place(sha256)

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def store(self, source: Path, *, inbox: Path | None = None, growing: bool = False) -> Stored:
        """Take a file in, durably: `take` and its `arrivals` in one."""
        with self.arrivals():
            return self.take(source, inbox=inbox, growing=growing)

    @contextmanager
    def arrivals(self) -> Iterator[None]:
        """Let files be taken in by the block: what was is durable when it ends, however it ends.

        The disk is waited for meanwhile, so that a drop can be read as soon as it is copied.
        """
        with threads.pool(1) as self._syncing:
            try:
                yield
            finally:
                self._keep_arrived()

    def take(self, source: Path, *, inbox: Path | None = None, growing: bool = False) -> Stored:
        """Copy a file, within `arrivals`, reading it once; bytes that are there already are not stored twice.

        Of an `inbox` a file is taken only if it is one of it when it is opened (`pipelines.inbox`). Of one that is `growing` by
        whole lines, take what stands up to the last LF of the size it has now.

        Raises DropHeldError `unreadable` when the source cannot be read or does not stand still, `not_a_file` when it is none.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            stored = self._take_once(source, inbox, growing)
            if stored:
                return stored
        raise DropHeldError("unreadable", f"the file changed while it was read, {_ATTEMPTS} times; it is still being written")

    def _take_once(self, source: Path, inbox: Path | None, growing: bool) -> Stored | None:
        """Return None when the file changed on the way."""
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=_INCOMING, delete=False) as copy:
            incoming = Path(copy.name)
            try:
                stored = _copy(source, inbox, cast(io.BufferedRandom, copy), growing)
                if stored and not self._has(stored):
                    copy.flush()
                    os.fchmod(copy.fileno(), 0o440)
                    self._arriving[stored.sha256] = incoming, self._syncing.submit(sync_file, incoming)
                    return stored
            except BaseException:
                incoming.unlink()
                raise
        incoming.unlink()
        return stored

    def _has(self, stored: Stored) -> bool:
        """Tell whether those bytes are here. A file of another size under their name is damaged: a fresh copy takes its place."""
        place = self.path(stored.sha256)
        return place.exists() and place.stat().st_size == stored.bytes

    def _keep_arrived(self) -> None:
        """Give whole copies that are on the disk their names."""
        folders = set()
        for sha256, (incoming, synced) in self._arriving.items():
            synced.result()
            place = self._place(sha256)
            if not place.parent.exists():
                place.parent.mkdir(exist_ok=True)
                folders.add(self.folder)
            incoming.replace(place)
            folders.add(place.parent)
        self._arriving.clear()
        for folder in sorted(folders):
            sync_folder(folder)

    def sweep(self) -> None:
        """Remove what a killed run left half copied. Only for the run that has the lock."""
        for left in self.folder.glob(f"{_INCOMING}*"):
            left.unlink(missing_ok=True)

    def open_bytes(self, sha256: str, compression: str | None) -> BinaryIO:
        """Open the uncompressed bytes (`compression` None, `gz` or `zst`), to be read once from the start.

        Reading raises DropHeldError `unreadable` where the compressed bytes are damaged or end early.
        """
        try:
            source = self.path(sha256).open("rb")
        except OSError as error:
            raise NightdropError(
                f"archived bytes {sha256} cannot be read at {str(self.path(sha256))!r}: {error.strerror}. "
                "Put the file back from a backup, or drop the original into the inbox again"
            ) from error
        if compression is None:
            return source
        inner: io.RawIOBase = _Gzip(source) if compression == "gz" else _Zstd(source)
        return cast(BinaryIO, io.BufferedReader(inner, _PIECE))

    def pieces_of(self, sha256: str, compression: str | None, offset: int, length: int) -> Iterator[bytes]:
        """Yield one range of the uncompressed bytes, however long it is, a piece at a time."""
        left = length
        with self.open_bytes(sha256, compression) as stream:
            _skip(stream, offset, seekable=compression is None)
            while left > 0 and (piece := stream.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece
        if left:
            raise _ends_early(sha256, offset + length)

    def read_ranges(
        self, sha256: str, compression: str | None, offsets: Iterable[int], lengths: Iterable[int]
    ) -> Iterator[bytes]:
        """Yield those ranges of the uncompressed bytes; offsets ascend and ranges do not overlap. One pass."""
        with self.open_bytes(sha256, compression) as stream:
            position = 0
            for offset, length in zip(offsets, lengths, strict=True):
                _skip(stream, offset - position, seekable=compression is None)
                piece = stream.read(length)
                if len(piece) != length:
                    raise _ends_early(sha256, offset + length)
                yield piece
                position = offset + length


def _ends_early(sha256: str, wanted: int) -> NightdropError:
    return NightdropError(
        f"archived bytes {sha256} end before byte {wanted}, which was asked for; "
        "the record of this drop and its bytes do not belong together: run `nightdrop verify`"
    )


def damaged(path: str, sha256: str) -> NightdropError:
    """Return the error that says that archived bytes are not those that were stored."""
    return NightdropError(
        f"{path}: its archived bytes are not the ones that were stored under {sha256}. Nothing was changed. Put the file back "
        "from a backup, or remove it from data/state/archive and drop the original into the inbox again."
    )


def _copy(source: Path, inbox: Path | None, copy: io.BufferedRandom, growing: bool) -> Stored | None:
    with _unreadable_when_failing(source):
        file = _open(source) if inbox is None else open_file(inbox, source)
    with os.fdopen(file, "rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        wanted = _whole_lines(stream, before.st_size) if growing else sys.maxsize
        size = _copy_bytes(source, stream, copy, wanted)
        after = os.fstat(stream.fileno())
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and size == after.st_size
    if not (size == wanted if growing else same):
        return None
    copy.seek(0)
    return Stored(hashlib.file_digest(copy, "sha256").hexdigest(), size)


def _copy_bytes(source: Path, stream: BinaryIO, copy: BinaryIO, wanted: int) -> int:
    """Copy up to so many bytes; return how many there were."""
    size = 0
    # The kernel copies in half the time. What it refuses is tried again below, where it shows which of the two files is at fault.
    with suppress(OSError):
        while count := os.sendfile(copy.fileno(), stream.fileno(), None, min(_IN_KERNEL, wanted - size)):
            if count == _IN_KERNEL:
                # Nobody asks for it again. The memory it had serves the copy then: to get new costs more than to copy.
                os.posix_fadvise(stream.fileno(), size, count, os.POSIX_FADV_DONTNEED)
            size += count
    copy.seek(size)
    while True:
        with _unreadable_when_failing(source):
            piece = stream.read(min(_PIECE, wanted - size))
        if not piece:
            return size
        copy.write(piece)
        size += len(piece)


def _open(source: Path) -> int:
    """Open a file that a person names. O_NONBLOCK: opening a FIFO would wait for ever."""
    file = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise DropHeldError("not_a_file", "it is no regular file")
    return file


def _whole_lines(stream: BinaryIO, size: int) -> int:
    """Return how many of the first `size` bytes of a file stand in whole lines; it is then at its start."""
    end = size
    while end > 0:
        start = max(0, end - _PIECE)
        stream.seek(start)
        feed = stream.read(end - start).rfind(b"\n")
        if feed >= 0:
            end = start + feed + 1
            break
        end = start
    stream.seek(0)
    return end


@contextmanager
def _unreadable_when_failing(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DropHeldError("unreadable", f"{source.name!r} cannot be read: {error.strerror}") from error


def _skip(stream: BinaryIO, count: int, *, seekable: bool) -> None:
    if seekable:
        stream.seek(count, io.SEEK_CUR)
        return
    while count > 0:
        piece = stream.read(min(count, _PIECE))
        if not piece:
            return
        count -= len(piece)


class _Expanded(io.RawIOBase):
    """A readable stream of uncompressed bytes over a compressed one, which it closes with itself."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source = source

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._source.close()
        super().close()


class _Gzip(_Expanded):
    """All members of a gzip file."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__(source)
        self._members = gzip.GzipFile(fileobj=source)
        self._seen = False

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed wants the private WriteableBuffer
        try:
            piece = self._members.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DropHeldError("unreadable", f"damaged gzip: {error}") from error
        if not piece and not self._seen and self._source.tell() == 0:
            raise DropHeldError("unreadable", "damaged gzip: the file is empty")
        self._seen = True
        buffer[: len(piece)] = piece
        return len(piece)


class _Zstd(_Expanded):
    """All frames of a zstd file. The library's own stream reader takes a frame that ends early for a whole one."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__(source)
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._left = b""
        self._output = memoryview(b"")
        self._between_frames = False

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._output:
            piece = self._left or self._source.read(_ZSTD_PIECE)
            if not piece:
                if self._between_frames:
                    return 0
                raise DropHeldError("unreadable", "damaged zstd: it ends within a frame")
            self._expand(piece)
        count = min(len(buffer), len(self._output))
        buffer[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _expand(self, piece: bytes) -> None:
        if self._between_frames:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            self._output = memoryview(self._frame.decompress(piece))
        except zstandard.ZstdError as error:
            raise DropHeldError("unreadable", f"damaged zstd: {error}") from error
        self._between_frames = self._frame.eof
        self._left = self._frame.unused_data if self._frame.eof else b""
