"""Bytes go in once, come out as they were, and damage is a held drop."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipelines.archive import Archive
from pipelines.copying import Stored
from pipelines.problems import DropHeldError, NightdropError
from pipelines.ranges import Ranges, read_ranges
from pipelines.refused import _column


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "state" / "archive")


def keep(archive: Archive, tmp_path: Path, data: bytes) -> str:
    source = tmp_path / "drop"
    source.write_bytes(data)
    return archive.store(source).sha256


def pieces(found: Iterable[Ranges]) -> list[bytes]:
    return [piece for ranges in found for piece in ranges.pieces()]


def test_stored_bytes_lie_under_their_hash_and_cannot_be_written(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "2024-01-02.csv"
    source.write_bytes(b"step\n")
    sha256 = hashlib.sha256(b"step\n").hexdigest()
    assert archive.store(source) == Stored(sha256, 5)
    kept = archive.path(sha256)
    assert kept == archive.folder / sha256[:2] / sha256
    assert kept.read_bytes() == b"step\n"
    assert kept.stat().st_mode & 0o777 == 0o440
    assert source.read_bytes() == b"step\n"


def test_storing_the_same_bytes_again_leaves_the_archive_as_it_is(archive: Archive, tmp_path: Path) -> None:
    sha256 = keep(archive, tmp_path, b"one")
    before = archive.path(sha256).stat()
    assert keep(archive, tmp_path, b"one") == sha256
    assert archive.path(sha256).stat().st_ino == before.st_ino
    assert [file for file in archive.folder.rglob("*") if file.is_file()] == [archive.path(sha256)]


def test_a_copied_drop_is_read_at_once_and_has_its_name_when_it_is_on_the_disk(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"same")
    (tmp_path / "two").write_bytes(b"same")
    with archive.arrivals():
        sha256 = archive.take(tmp_path / "one").sha256
        assert archive.take(tmp_path / "two").sha256 == sha256
        with archive.open_bytes(sha256, None) as stream:
            assert stream.read() == b"same"
        assert not (archive.folder / sha256[:2] / sha256).exists()
    assert [file for file in archive.folder.rglob("*") if file.is_file()] == [archive.folder / sha256[:2] / sha256]
    assert archive.path(sha256).read_bytes() == b"same"


def test_what_the_disk_did_not_take_has_no_name(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        keep(archive, tmp_path, b"lost")
    archive.sweep()
    assert not [file for file in archive.folder.rglob("*") if file.is_file()]


def test_what_was_taken_in_before_a_failure_is_kept(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "drop").write_bytes(b"kept")
    with pytest.raises(RuntimeError), archive.arrivals():
        sha256 = archive.take(tmp_path / "drop").sha256
        raise RuntimeError
    assert archive.path(sha256).read_bytes() == b"kept"


def test_a_damaged_copy_of_another_size_is_replaced_by_the_good_one(archive: Archive, tmp_path: Path) -> None:
    sha256 = keep(archive, tmp_path, b"whole")
    archive.path(sha256).chmod(0o600)
    archive.path(sha256).write_bytes(b"who")
    keep(archive, tmp_path, b"whole")
    assert archive.path(sha256).read_bytes() == b"whole"


def test_a_source_that_cannot_be_read_is_held_and_leaves_nothing_behind(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(DropHeldError, match="unreadable") as held:
        archive.store(tmp_path / "gone.csv")
    assert held.value.reason == "unreadable"
    os.mkfifo(tmp_path / "fifo.csv")
    with pytest.raises(DropHeldError) as held:
        archive.store(tmp_path / "fifo.csv")
    assert held.value.reason == "not_a_file"
    assert list(archive.folder.iterdir()) == []


def test_a_file_that_keeps_growing_while_it_is_read_is_held(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "growing.csv"
    source.write_bytes(b"a")
    real = os.fstat

    def grow(handle: int) -> os.stat_result:
        with source.open("ab") as file:
            file.write(b"b")
        return real(handle)

    monkeypatch.setattr(os, "fstat", grow)
    with pytest.raises(DropHeldError, match="changed while it was read"):
        archive.store(source)


def test_what_a_killed_run_left_is_swept(archive: Archive, tmp_path: Path) -> None:
    sha256 = keep(archive, tmp_path, b"kept")
    (archive.folder / ".incoming-abc").write_bytes(b"half")
    archive.sweep()
    assert sorted(file.name for file in archive.folder.iterdir()) == [sha256[:2]]


@given(
    data=st.binary(max_size=200),
    taken=st.lists(st.integers(1, 60), max_size=8),
    refusal=st.sampled_from([errno.EINVAL, errno.EIO, errno.ENOSPC]),
)
def test_what_the_kernel_does_not_copy_by_itself_is_copied_all_the_same(data: bytes, taken: list[int], refusal: int) -> None:
    real, left = os.sendfile, iter(taken)

    def some(into: int, out_of: int, offset: None, count: int) -> int:
        for most in left:
            return real(into, out_of, offset, min(count, most))
        raise OSError(refusal, os.strerror(refusal))

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sendfile", some)
        archive = Archive(Path(folder) / "archive")
        sha256 = keep(archive, Path(folder), data)
        assert sha256 == hashlib.sha256(data).hexdigest()
        assert archive.path(sha256).read_bytes() == data


@pytest.mark.parametrize(
    ("compression", "data"),
    [
        (None, b"one\ntwo\n"),
        ("gz", gzip.compress(b"one\n", mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(b"two\n", mtime=0)),
        ("zst", zstandard.compress(b"one\n") + zstandard.compress(b"") + zstandard.compress(b"two\n")),
    ],
)
def test_all_members_of_a_compressed_file_are_read(
    archive: Archive, tmp_path: Path, compression: str | None, data: bytes
) -> None:
    sha256 = keep(archive, tmp_path, data)
    with archive.open_bytes(sha256, compression) as stream:
        assert stream.read() == b"one\ntwo\n"
    assert pieces(read_ranges(archive, sha256, compression, [0, 4, 5], [3, 1, 2])) == [b"one", b"t", b"wo"]
    assert pieces(read_ranges(archive, sha256, compression, [], [])) == []


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=30), st.integers(0, 40), st.integers(1, 60))
def test_ranges_are_read_alike_however_many_are_read_at_once(parts: list[tuple[int, int]], close: int, at_once: int) -> None:
    data, offsets, lengths, end = os.urandom(2_000), [], [], 0
    for gap, length in parts:
        offsets.append(end + gap)
        lengths.append(length)
        end += gap + length
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.ranges._CLOSE", close)
        patch.setattr("pipelines.archive._PIECE", at_once)
        patch.setattr("pipelines.ranges._PIECE", at_once)
        archive = Archive(Path(folder) / "archive")
        sha256 = keep(archive, Path(folder), data)
        wanted = [data[offset : offset + length] for offset, length in zip(offsets, lengths, strict=True)]
        found = list(read_ranges(archive, sha256, None, offsets, lengths))
        assert pieces(found) == wanted
        assert [raw for ranges in found for raw in _column(ranges)] == wanted


LONG = os.urandom(300_000)


@pytest.mark.parametrize(
    ("compression", "data"),
    [
        ("gz", b""),
        ("gz", b"step,client_id\n"),
        ("gz", gzip.compress(LONG, mtime=0)[:-9]),
        ("gz", gzip.compress(LONG, mtime=0)[:-4] + b"\0\0\0\1"),
        ("gz", gzip.compress(LONG, mtime=0) + b"garbage"),
        ("gz", gzip.compress(LONG, mtime=0)[:5000] + b"\0" * 100 + gzip.compress(LONG, mtime=0)[5100:]),
        ("zst", b""),
        ("zst", b"step,client_id\n"),
        ("zst", zstandard.compress(LONG)[:-1]),
        ("zst", zstandard.compress(LONG) + b"garbage"),
        ("zst", zstandard.compress(LONG) + zstandard.compress(LONG)[:10]),
    ],
)
def test_damaged_compression_is_unreadable(archive: Archive, tmp_path: Path, compression: str, data: bytes) -> None:
    sha256 = keep(archive, tmp_path, data)
    with archive.open_bytes(sha256, compression) as stream, pytest.raises(DropHeldError) as held:
        while stream.read(65536):
            pass
    assert held.value.reason == "unreadable"


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_large_compressed_files_come_out_whole(archive: Archive, tmp_path: Path, compression: str) -> None:
    data = LONG + b"\0" * 20_000_000 + LONG
    packed = gzip.compress(data, 1) if compression == "gz" else zstandard.compress(data)
    sha256 = keep(archive, tmp_path, packed)
    with archive.open_bytes(sha256, compression) as stream:
        digest = hashlib.sha256()
        while piece := stream.read(1_000_000):
            digest.update(piece)
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()
    assert pieces(read_ranges(archive, sha256, compression, [299_990, 20_299_990], [10, 20])) == [
        LONG[-10:],
        b"\0" * 10 + LONG[:10],
    ]


def test_archived_bytes_that_are_gone_or_too_short_say_what_to_do(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(NightdropError, match="backup"):
        archive.open_bytes("0" * 64, None)
    sha256 = keep(archive, tmp_path, b"short")
    with pytest.raises(NightdropError, match="nightdrop verify"):
        pieces(read_ranges(archive, sha256, None, [3], [10]))


# --- copied ahead -------------------------------------------------------------------------------------------------------


def files_of(archive: Archive) -> list[Path]:
    return [file for file in archive.folder.rglob("*") if file.is_file()]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def test_what_was_copied_ahead_is_taken_without_being_read_again(
    archive: Archive, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = [inbox / "one", inbox / "two", inbox / "again"]
    for drop, data in zip(drops, (b"one" * 50_000_000, b"", b""), strict=True):
        drop.write_bytes(data)
    with archive.copying_ahead(drops, inbox), archive.arrivals():
        for ahead in archive._ahead.values():
            ahead.result()
        monkeypatch.setattr(os, "sendfile", None)  # whoever copies now fails
        taken = [archive.take(drop, inbox=inbox) for drop in drops]
        assert all(archive.was_hashed(one.sha256) for one in taken)
    assert taken == [Stored(hashlib.sha256(drop.read_bytes()).hexdigest(), drop.stat().st_size) for drop in drops]
    assert not archive.was_hashed(taken[0].sha256)
    assert sorted(file.name for file in files_of(archive)) == sorted({one.sha256 for one in taken})


def test_a_file_that_changed_since_it_was_copied_ahead_is_copied_again(archive: Archive, inbox: Path) -> None:
    drop = inbox / "drop"
    drop.write_bytes(b"before")
    with archive.copying_ahead([drop], inbox), archive.arrivals():
        archive._ahead[drop].result()
        drop.write_bytes(b"afters")
        assert archive.take(drop, inbox=inbox).sha256 == hashlib.sha256(b"afters").hexdigest()
    assert [file.read_bytes() for file in files_of(archive)] == [b"afters"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda drop: (drop.unlink(), drop.symlink_to("/etc/hostname"))])
def test_a_file_that_is_gone_or_led_away_since_is_not_taken(
    archive: Archive, inbox: Path, spoil: Callable[[Path], object]
) -> None:
    drop = inbox / "drop"
    drop.write_bytes(b"before")
    with archive.copying_ahead([drop], inbox), archive.arrivals():
        archive._ahead[drop].result()
        spoil(drop)
        with pytest.raises(DropHeldError, match=r"unreadable|not_a_file"):
            archive.take(drop, inbox=inbox)
    assert files_of(archive) == []


def test_what_cannot_be_copied_ahead_says_why_when_it_is_taken(archive: Archive, inbox: Path) -> None:
    os.mkfifo(inbox / "fifo")
    with archive.copying_ahead([inbox / "fifo", inbox / "gone"], inbox), archive.arrivals():
        with pytest.raises(DropHeldError, match="not_a_file"):
            archive.take(inbox / "fifo", inbox=inbox)
        with pytest.raises(DropHeldError, match="unreadable"):
            archive.take(inbox / "gone", inbox=inbox)
    assert files_of(archive) == []


def test_copies_that_nobody_takes_go_and_those_not_begun_are_not_made(archive: Archive, inbox: Path) -> None:
    for name in "abc":
        (inbox / name).write_bytes(name.encode() * 100_000_000)
    with pytest.raises(RuntimeError), archive.copying_ahead([inbox / "a", inbox / "b", inbox / "c"], inbox):
        archive._ahead[inbox / "a"].result()
        raise RuntimeError
    assert files_of(archive) == []
