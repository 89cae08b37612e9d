"""Lines of any length: refused with their exact bytes, or their drop is held; never the whole of a file in memory."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
import zstandard
from checked import create, line
from homes import assert_same, deliver, home_in, night, rows, tables
from oracle import expected

from pipelines import acts, database
from pipelines.home import Home, Settings
from pipelines.limits import KEPT_AT_MOST, Limits
from pipelines.problems import DropHeldError

MB = 1_000_000
LONG = b'{"a": "' + b"x" * 3 * MB + b'"}'
DAY = "2025-01-05"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "home")


def client(number: int) -> bytes:
    return line("client", create("client", client_id=f"C{number}"))


MEASURED = """
import re, sys
from pathlib import Path
from pipelines.home import Home, Settings
from pipelines.night import run_night
done = run_night(Home(Path(sys.argv[1])), Settings())
print(*((drop.reason, drop.detail) for drop in done.held), sep="\\n")
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""
"""What getrusage calls a process's peak begins with that of the one it was forked from, this one."""


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "csv.zst"])
def test_a_file_of_one_huge_line_is_held_and_never_in_memory_as_a_whole(home: Home, suffix: str) -> None:
    place, megabytes = home.inbox / f"{DAY}.{suffix}", 1200 if suffix.endswith("zst") else 300
    if suffix == "jsonl":
        place.touch()
        os.truncate(place, megabytes * MB)  # a sparse file: all NUL
    elif suffix == "jsonl.gz":
        piece = gzip.compress(b"x" * MB)
        place.write_bytes(piece * megabytes)
    else:
        packed = zstandard.ZstdCompressor().compress(b"y" * 100 * MB)
        place.write_bytes(zstandard.ZstdCompressor().compress(b'step,client_id\ncreate,"') + packed * (megabytes // 100))
    deliver(home, {"2025-01-06.jsonl": client(1)})
    words = [sys.executable, "-c", MEASURED, str(home.root)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    *held, peak = done.stdout.splitlines()
    number = 2 if suffix == "csv.zst" else 1
    assert held == [f"('too_large', 'the record on line {number} goes beyond 134,217,728 bytes (setting `max_line`)')"]
    assert int(peak) < 560, "MB; a run of nothing takes about 230"
    assert rows(home, "SELECT client_id FROM clients") == [("C1",)]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("jsonl", client(1) + LONG + b"\n" + client(2)),
        ("jsonl.gz", gzip.compress(client(1) + LONG + b"\r\n" + client(2))),
        ("jsonl.zst", zstandard.ZstdCompressor().compress(LONG + b"\n")),
        ("csv", b'step,client_id\ncreate,"' + (b"x" * MB + b"\n") * 3 + b'"\ncreate,\n'),
    ],
)
def test_a_drop_with_a_line_beyond_the_limit_is_taken_when_the_limit_is_raised_or_it_is_released(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = f"{DAY}.{suffix}"
    for number, raised in enumerate((True, False)):
        home = home_in(tmp_path / str(number))
        [held] = night(home, {path: content}, max_line=2 * MB).held
        assert (held.reason, "goes beyond 2,000,000 bytes (setting `max_line`)" in str(held.detail)) == ("too_large", True)
        assert night(home, max_line=2 * MB).held
        if raised:
            assert not night(home, max_line=5 * MB).held
        else:
            acts.release(home, Settings(max_line=2 * MB), path)
        assert_same(tables(home), expected({path: content}))


def test_a_drop_that_expanded_too_far_is_taken_when_the_limit_is_raised(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    [held] = night(home, {f"{DAY}.jsonl": client(1)}, max_expanded=100).held
    assert held.reason == "too_large"
    assert night(home, max_expanded=101).held
    assert not night(home, max_expanded=1000).held
    assert_same(tables(home), expected({f"{DAY}.jsonl": client(1)}))


def test_long_lines_stand_in_the_bounce_where_they_stood_byte_for_byte(home: Home) -> None:
    content = b"bad 1\r\n" + LONG + b"\r\nbad 2\r\n" + client(1) + b" " + LONG + b"\r\n" + LONG + b"x"
    for suffix, enclose in ((".jsonl", bytes), (".jsonl.gz", gzip.compress)):
        night(home, {f"{DAY}/a{suffix}": enclose(content if suffix == ".jsonl" else content + b"\r\nbad 3\r\n")})
    bounces = sorted((home.reports / DAY).glob("*.rejected.jsonl"))
    wanted = b"bad 1\r\n" + LONG + b"\r\nbad 2\r\n " + LONG + b"\r\n" + LONG + b"x\r\n"
    found = {bounce.read_bytes() for bounce in bounces}
    assert found == {wanted + b"bad 3\r\n"} or found == {wanted, wanted + b"bad 3\r\n"}


def test_a_long_csv_record_over_many_lines_is_counted_in_its_bounce(home: Home) -> None:
    content = b'step,client_id\ncreate,\ncreate,"' + b"x\n" * MB + b'"\ncreate, \n'
    night(home, {f"{DAY}.csv": content})
    [bounce] = (home.reports / DAY).glob("*.rejected.csv")
    assert bounce.read_bytes() == content
    told = (home.reports / DAY / f"{bounce.name}.reasons.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in told[1:] if "long" in row or "_id" in row] == [
        ["2", "2"],
        ["3", "3"],
        [str(MB + 4), str(MB + 4)],
    ]


def test_a_correction_that_is_too_long_again_is_kept_with_its_own_bytes(home: Home) -> None:
    night(home, {f"{DAY}.jsonl.gz": gzip.compress(client(1) + b"bad\nworse\n")})
    [bounce] = (home.reports / DAY).glob("*.rejected.jsonl")
    bounce.write_bytes(LONG + b"\nstill bad\n")
    acts.resubmit(home, Settings(), bounce)
    assert rows(home, "SELECT line, raw FROM rejected_lines ORDER BY line") == [(2, LONG), (3, b"still bad")]
    bounces = [file.read_bytes() for file in (home.reports / DAY).glob("*.rejected.jsonl")]
    assert LONG + b"\nstill bad\n" in bounces


def test_no_release_takes_a_line_whose_bytes_nothing_could_keep() -> None:
    with pytest.raises(DropHeldError) as held:
        Limits().assert_line(7, KEPT_AT_MOST + 1)
    assert (held.value.reason, "line 7" in held.value.detail) == ("unreadable", True)
    Limits().assert_line(7, KEPT_AT_MOST)


def test_a_connection_with_a_memory_limit_takes_a_value_beyond_it_once_it_may(tmp_path: Path) -> None:
    value = pl.DataFrame({"raw": [b"x" * 40 * MB]})

    def put(con: duckdb.DuckDBPyConnection) -> None:
        with database.transaction(con), database.handed_over(con, value=value):
            con.execute("INSERT INTO lines FROM value")

    with database.connect(tmp_path / "w.duckdb", memory_limit="50MB") as con:
        con.execute("CREATE TABLE lines (raw BLOB)")
        with pytest.raises(duckdb.OutOfMemoryException):
            put(con)
        database.let_hold(con, 40 * MB)
        put(con)
        assert con.execute("SELECT octet_length(raw) FROM lines").fetchall() == [(40 * MB,)]
        limit = "SELECT current_setting('memory_limit')"
        held = con.execute(limit).fetchall()
        database.let_hold(con, 1)
        assert con.execute(limit).fetchall() == held


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_line_of_two_gigabytes_is_held_and_one_rejected_record_when_released(home: Home, suffix: str) -> None:
    size, path = int(os.environ.get("LONG_LINE_MB", "2000")), f"{DAY}.{suffix}.zst"
    with (home.inbox / path).open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as stream:
        stream.write(b'step,client_id\ncreate,"' if suffix == "csv" else b'{"a": "')
        for _ in range(size):
            stream.write(b"x" * MB)
        stream.write(b'"\n' if suffix == "csv" else b'"}\n')
    assert [drop.reason for drop in night(home).held] == ["too_large"]
    acts.release(home, Settings(), path)
    length = size * MB + 9  # either way what stands around it is nine bytes
    for _ in ("when it is put in", "when it stands"):
        assert rows(home, "SELECT code FROM rejections") == [("line_too_long",)]
        assert rows(home, "SELECT byte_length, octet_length(raw) FROM rejected_lines") == [(length, length)]
        night(home, {f"{DAY}-late.jsonl": line("client", create("client"))})  # of that date, so that the gate looks at it
