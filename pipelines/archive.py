"""The original bytes of every drop, named by their SHA-256: once stored they are never changed.

The only door to archived bytes. Whatever a damaged file does on the way out is a held drop, not a crash.
"""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO, cast

import zstandard

from pipelines.copying import NEVER, Copied, Stored, copied
from pipelines.files import sync_file, sync_folder
from pipelines.problems import DropHeldError, NightdropError

_PIECE = 1024 * 1024
# A few compressed bytes may stand for a great many: 4 KiB of zstd make 128 MiB at worst.
_ZSTD_PIECE = 4096
_ATTEMPTS = 3
_INCOMING = ".incoming-"


class Archive:
    """A folder of files named by their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arriving: dict[str, tuple[Path, Future[None]]] = {}
        """Whole copies by their hash, on their way to the disk."""
        self._ahead: dict[Path, Future[tuple[Path, Copied | None]]] = {}
        """What is copied before it is taken in, by where it comes from."""

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
        with ThreadPoolExecutor(1) as self._syncing:
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
        ahead = self._ahead.pop(source, None)
        if ahead is not None and not ahead.exception():
            incoming, was = ahead.result()
            if was and was.is_still(source):
                return self._keep(incoming, was.stored)
            incoming.unlink(missing_ok=True)
        for _ in range(_ATTEMPTS):
            incoming, was = self._copy(source, inbox, growing=growing)
            if was:
                return self._keep(incoming, was.stored)
        raise DropHeldError("unreadable", f"the file changed while it was read, {_ATTEMPTS} times; it is still being written")

    @contextmanager
    def copying_ahead(self, sources: Iterable[Path], inbox: Path) -> Iterator[None]:
        """Copy files of an inbox while the block does something else: `take` then finds them copied, unless they changed since.

        What could not be copied is left to `take`, which says why. Copies that nobody took go when the block ends.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stop = Event()
        with ThreadPoolExecutor(1) as copier:
            for source in sources:
                self._ahead[source] = copier.submit(self._copy, source, inbox, growing=False, stop=stop)
            try:
                yield
            finally:
                stop.set()
                copier.shutdown(cancel_futures=True)
                for ahead in self._ahead.values():
                    if not ahead.cancelled() and not ahead.exception():
                        ahead.result()[0].unlink(missing_ok=True)
                self._ahead.clear()

    def _copy(self, source: Path, inbox: Path | None, *, growing: bool, stop: Event = NEVER) -> tuple[Path, Copied | None]:
        """Copy a file into a new one beside the archived ones; with None, and nothing there, when it changed on the way."""
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=_INCOMING, delete=False) as copy:
            incoming = Path(copy.name)
            try:
                was = copied(source, cast(BinaryIO, copy), inbox=inbox, growing=growing, stop=stop)
                os.fchmod(copy.fileno(), 0o440)
            except BaseException:
                incoming.unlink()
                raise
        if was is None:
            incoming.unlink()
        return incoming, was

    def _keep(self, incoming: Path, stored: Stored) -> Stored:
        """Have a whole copy put on the disk, unless its bytes are here already."""
        if self._has(stored):
            incoming.unlink()
        else:
            self._arriving[stored.sha256] = incoming, self._syncing.submit(sync_file, incoming)
        return stored

    def was_hashed(self, sha256: str) -> bool:
        """Tell whether those bytes were hashed within these `arrivals`, as they lie here."""
        return sha256 in self._arriving

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

    def read_stretches(self, sha256: str, compression: str | None, stretches: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """Yield stretches (begin, end) of the uncompressed bytes, each as a whole; they ascend and do not overlap. One pass."""
        with self.open_bytes(sha256, compression) as stream:
            position = 0
            for begin, end in stretches:
                _skip(stream, begin - position, seekable=compression is None)
                content = stream.read(end - begin)
                if len(content) != end - begin:
                    raise _ends_early(sha256, end)
                yield content
                position = end


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

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as above
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
