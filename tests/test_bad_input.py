"""Bad input of every kind: never a traceback, never a record lost or doubled, and nothing opened that is no file of the inbox."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard
from checked import create, line
from fuzz_reading import read_both, seeds
from homes import assert_same, deliver, home_in, night, rows, tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import expected

from flows.cli import call
from pipelines import discovery, inbox
from pipelines.home import Home
from pipelines.problems import DropHeldError, NightdropError

CLIENT = line("client", create("client"))
CHARACTERS = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\u",
    b"\xed\xa0\x80",
]
WORDS = [
    b'"category"',
    b'"data"',
    b'"client"',
    b"category,step,client_id\n",
    b"1e999999999",
    b"-",
    b"NaN",
    b"\\N",
    b'""',
    b" ",
    b"\x0b",
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "home")


def mutated(case: bytes, chance: random.Random) -> bytes:
    """Return a case with some bytes changed, taken out, doubled or put in."""
    for _ in range(chance.choice([1, 1, 2, 4])):
        at, end = sorted(chance.randrange(len(case) + 1) for _ in range(2))
        piece = chance.choice([b"", case[at:end] * 2, chance.choice(CHARACTERS), chance.choice(WORDS), chance.randbytes(2)])
        case = case[:at] + piece + case[end if chance.random() < 0.3 else at :]
    return case


def read_mutants(count: int, seed: int) -> None:
    chance, begin = random.Random(seed), [case for case in seeds() if len(case) < 500]
    for _ in range(count):
        read_both(mutated(chance.choice(begin), chance))


def test_mutated_files_are_read_as_the_judge_reads_them() -> None:
    read_mutants(250, 1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_many_mutated_files_are_read_as_the_judge_reads_them(seed: int) -> None:
    read_mutants(5000, seed + 100)


PIECES = st.one_of(st.binary(max_size=8), st.sampled_from([*CHARACTERS, *WORDS, CLIENT, CLIENT[:-1], CLIENT[: len(CLIENT) // 2]]))
ENCLOSED = [(".jsonl", bytes), (".csv", bytes), (".jsonl.gz", gzip.compress), (".csv.zst", zstandard.ZstdCompressor().compress)]


def run_on_garbage(files: list[tuple[list[bytes], int]], folder: Path) -> None:
    drops: dict[str, bytes] = {}
    contents: set[bytes] = set()
    for number, (pieces, how) in enumerate(files):
        suffix, enclose = ENCLOSED[how]
        header = b"step,client_id,name\n" if suffix.startswith(".csv") and len(pieces) % 2 else b""
        content = header + b"".join(pieces)
        if content not in contents:  # whatever it is packed in, it would be a duplicate, which this judge does not know
            drops[f"2025-01-05/{number}{suffix}"] = enclose(content)
        contents.add(content)
    home = home_in(folder)
    night(home, drops)
    assert_same(tables(home), expected(drops))
    shutil.rmtree(folder)  # a thousand of them may lie in memory


GARBAGE = st.lists(st.tuples(st.lists(PIECES, max_size=12), st.integers(0, 3)), min_size=1, max_size=3, unique_by=str)
ANY = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


@settings(max_examples=5, deadline=None, suppress_health_check=ANY)
@given(GARBAGE)
def test_a_whole_run_on_any_bytes_equals_the_naive_loop(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[list[bytes], int]]
) -> None:
    run_on_garbage(files, tmp_path_factory.mktemp("garbage"))


@pytest.mark.long
@settings(max_examples=1000, deadline=None, suppress_health_check=ANY)
@given(GARBAGE)
def test_many_runs_on_any_bytes_equal_the_naive_loop(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[list[bytes], int]]
) -> None:
    run_on_garbage(files, tmp_path_factory.mktemp("garbage"))


DEEP = b"[" * 100_000 + b"]" * 100_000
ODD = {
    "nothing.jsonl": b"",
    "garbage.jsonl": random.Random(1).randbytes(5000).replace(b"\n", b"\r"),
    "garbage.csv": random.Random(2).randbytes(5000),
    "nul.jsonl": b"\0" * 3000 + b"\n" + CLIENT,
    "nul.csv": b"step,client_id\ncreate,C\0" + b"5\n\0\n",
    "ends.jsonl": CLIENT.replace(b"C1", b"C21") + CLIENT.replace(b"C1", b"C22")[:-1] + b"\r\n\r\r\n" + CLIENT.replace(b"C1", b"C23"),
    "deep.jsonl": DEEP + b"\n" + b'{"category": "client", "data": ' + b'{"a":' * 70 + b"1" + b"}" * 71 + b"\n",
    "deep.csv": b"step,client_id,info\ncreate,C3," + DEEP + b"\n",
    "digits.jsonl": line("loan", {**create("loan", loan_id="L3"), "amount": 0}).replace(b": 0}", b": " + b"9" * 10_000 + b"}")
    + line("loan", {**create("loan", loan_id="L4"), "amount": 0}).replace(b": 0}", b": 1" + b"0" * 10_000 + b"e-10000}"),
    "line.jsonl": b'{"a": "' + b"x" * 3_000_000 + b'"}\n',
    "line.csv": b'step,client_id\ncreate,"' + b"x\n" * 1_000_000 + b'"\n',
    "bom.csv": b"\xef\xbb\xbfstep,client_id\r\ncreate,C5\r\n",
    "latin.csv": b"step,client_id,name\ncreate,C6,Ren\xe9\n",
}  # fmt: skip


def test_odd_files_of_every_kind_are_told_record_by_record_or_held(home: Home) -> None:
    drops = {f"2025-01-05/{name}": data for name, data in ODD.items()}
    night(home, drops)
    assert_same(tables(home), expected(drops))


@pytest.mark.parametrize(("suffix", "enclose"), ENCLOSED)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_bytes_of_a_rejected_line_are_the_files_own(home: Home, suffix: str, enclose: Any, end: bytes) -> None:
    bad = [b"{", b"no \xff UTF-8 \xfe", b'"a\0b"', "{é}".encode(), b"[1]"]
    if suffix.startswith(".csv"):
        bad = [b'create,"two' + end + b'lines, ""quoted"""', b"a,b,c", b"create,\xff", b"create,", '"é",'.encode()]
        bad = [b"step,client_id", *bad]
    plain = b"\xef\xbb\xbf" + end.join(bad) + end
    night(home, {f"2025-01-05/a{suffix}": enclose(plain)})
    found = rows(home, "SELECT byte_offset, byte_length, raw FROM rejected_lines ORDER BY line")
    assert [raw for _, _, raw in found] == bad[suffix.startswith(".csv") :]
    assert all(plain[offset:][:length] == raw for offset, length, raw in found)


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        pytest.param(2, 30_000, id="as many in each of two lines"),
        pytest.param(20, 50_000, id="a million", marks=pytest.mark.long),
    ],
)
def test_a_million_unknown_keys_are_a_million_warnings_at_most(home: Home, lines: int, keys: int) -> None:
    """All keys differ, within a line and between lines."""
    drop = b""
    for number in range(lines):
        sent = b", ".join(b'"k%d": 1' % key for key in range(number * keys, (number + 1) * keys))
        drop += CLIENT.replace(b"C1", b"K%d" % number).replace(b'"step"', sent + b', "step"')
    assert max(map(len, drop.splitlines())) < 1024 * 1024
    started = time.monotonic()
    night(home, {"2025-01-05.jsonl": drop})
    print(f"\n{lines * keys:,} distinct keys: {time.monotonic() - started:.1f} s")
    found = rows(home, "SELECT count(*), count(DISTINCT field) FROM warnings WHERE code = 'unknown_field'")
    assert found == [(lines * keys, lines * keys)]
    assert rows(home, "SELECT count(*) FROM clients") == [(lines,)]


def test_a_bomb_is_held_and_never_unpacked_beyond_the_limit(home: Home) -> None:
    bomb = gzip.compress(b"\n" * 50_000_000)
    done = night(home, {"2025-01-05.jsonl.gz": bomb, "2025-01-05.jsonl": CLIENT}, max_expanded=1_000_000)
    assert [(drop.path, drop.reason) for drop in done.held] == [("2025-01-05.jsonl.gz", "too_large")]
    assert rows(home, "SELECT count(*) FROM events") == [(1,)]


NAMES = ["a\nb", "q\"uo'te", "💸", "x..", "%2e%2e", "a\\b", "$(id)", "=1+1", "x" * 180, os.fsdecode(b"bytes\xff")]


def test_odd_names_are_names_like_others(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(NAMES):
        folder = home.inbox / "2025-01-05"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.jsonl").write_bytes(CLIENT.replace(b"C1", b"C%d" % number) + b"bad\n")
    assert call(["--home", str(home.root), "run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["drops"]) == len(NAMES)
    assert rows(home, "SELECT count(*), count(DISTINCT path) FROM rejections") == [(len(NAMES), len(NAMES))]
    assert call(["--home", str(home.root), "run"]) == 0
    outside = [file for file in home.root.rglob("*.rejected.jsonl") if home.reports not in file.parents]
    assert not outside


def test_what_leads_out_of_the_inbox_or_is_no_file_is_never_opened(home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "2025-01-05-secret.jsonl"
    secret.write_bytes(CLIENT)
    (home.inbox / "2025-01-05-link.jsonl").symlink_to(secret)
    (home.inbox / "2025-01-05-loop.jsonl").symlink_to(home.inbox / "2025-01-05-loop.jsonl")
    (home.inbox / "out-2025-01-05").symlink_to(tmp_path)
    os.mkfifo(home.inbox / "2025-01-05-fifo.jsonl")
    if os.geteuid() == 0:
        os.mknod(home.inbox / "2025-01-05-zero.jsonl", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(home.inbox / "2025-01-05-s.jsonl"))
        secret_read = secret.stat().st_atime_ns
        done = night(home, {"2025-01-05.jsonl": CLIENT})
    assert {drop.reason for drop in done.held} == {"not_a_file"}
    assert len(done.held) == (6 if os.geteuid() == 0 else 5)
    assert secret.stat().st_atime_ns == secret_read
    assert rows(home, "SELECT count(*) FROM events") == [(1,)]


def test_a_manifest_that_leads_out_of_the_inbox_is_not_read(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text('{"sha256": "nobody may know"}')
    deliver(home, {"2025-01-05.jsonl": CLIENT})
    (home.inbox / "2025-01-05.jsonl.manifest.json").symlink_to(outside)
    (held,) = night(home).held
    assert held.reason == "manifest_mismatch"
    assert "symlink that leads out" in str(held.detail)


def swapped(place: Path, how: str, outside: Path) -> None:
    """Put something else into the place of a file of the inbox, or of its folder."""
    if how == "folder":
        place.parent.rename(place.parent.with_name(".was"))
        place.parent.symlink_to(outside.parent)
        return
    place.unlink()
    if how == "symlink":
        place.symlink_to(outside)
    elif how == "FIFO":
        os.mkfifo(place)
    else:
        place.mkdir()


@pytest.mark.parametrize("how", ["symlink", "FIFO", "folder", "directory"])
def test_what_comes_into_a_files_place_after_it_was_found_is_never_read(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    outside = tmp_path / "outside" / "a.jsonl"
    outside.parent.mkdir()
    outside.write_bytes(CLIENT.replace(b"C1", b"Secret"))
    deliver(home, {"2025-01-05/a.jsonl": CLIENT, "2025-01-06.jsonl": CLIENT.replace(b"C1", b"C2")})

    def found_and_swapped(inbox: Path) -> list[discovery.Candidate]:
        found = discovery.discover(inbox)
        swapped(inbox / "2025-01-05" / "a.jsonl", how, outside)
        return found

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.night.discover", found_and_swapped)
        outside_read = outside.stat().st_atime_ns
        (held,) = night(home).held
    assert (held.path, held.reason) == ("2025-01-05/a.jsonl", "not_a_file")
    assert outside.stat().st_atime_ns == outside_read
    assert rows(home, "SELECT client_id FROM clients") == [("C2",)]
    assert not [file for file in home.archive.rglob("*") if file.is_file() and b"Secret" in file.read_bytes()]


def test_a_file_that_is_swapped_for_links_again_and_again_is_never_read_through_them(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(CLIENT.replace(b"C1", b"Secret"))
    (home.inbox / "in").mkdir()
    place, ended = home.inbox / "in" / "2025-01-05.jsonl", threading.Event()
    real, link = home.inbox / ".real", home.inbox / ".link"

    def swap() -> None:
        while not ended.is_set():
            real.write_bytes(CLIENT)
            real.replace(place)
            link.symlink_to(outside)
            link.replace(place)

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes = set()
    try:
        for _ in range(3000):
            try:
                with os.fdopen(inbox.open_file(home.inbox, place), "rb") as stream:
                    content = stream.read()
            except OSError:  # in the middle of a swap: no such file, or a link no more
                continue
            except DropHeldError as held:
                outcomes.add(held.reason)
            else:
                outcomes.add("read")
                assert b"Secret" not in content
    finally:
        ended.set()
        swapper.join()
    assert outcomes == {"read", "not_a_file"}


def test_a_link_that_stays_in_the_inbox_is_a_drop(home: Home) -> None:
    deliver(home, {"2025-01-05/a.jsonl": CLIENT})
    (home.inbox / "2025-01-06.jsonl").symlink_to("2025-01-05/a.jsonl")
    (home.inbox / "2025-01-07").symlink_to("2025-01-05")
    night(home)
    found = rows(home, "SELECT path FROM drops ORDER BY path")
    assert found == [("2025-01-05/a.jsonl",), ("2025-01-06.jsonl",), ("2025-01-07/a.jsonl",)]


# --- a world that moves while it is read --------------------------------------------------------------------------------


def test_a_vanished_inbox_is_told_and_the_next_run_goes_on(home: Home, tmp_path: Path) -> None:
    night(home, {"2025-01-05.jsonl": CLIENT})
    home.inbox.rename(tmp_path / "away")
    with pytest.raises(NightdropError, match="no inbox folder"):
        night(home)
    (tmp_path / "away").rename(home.inbox)
    night(home, {"2025-01-06.jsonl": CLIENT.replace(b"C1", b"C2")})
    assert rows(home, "SELECT count(*) FROM clients") == [(2,)]


CHANGER = """
import os, sys, time
path, data = sys.argv[1], b'x' * 65536 + b'\\n'
print("ready", flush=True)
while True:
    with open(path, "wb") as file:
        for _ in range(40):
            file.write(data); file.flush()
    os.truncate(path, 100)
    with open(path + ".tmp", "wb") as file:
        file.write(data * 20)
    os.replace(path + ".tmp", path)
"""


def test_a_file_that_grows_shrinks_and_is_replaced_while_it_is_read_is_taken_whole_or_held(home: Home) -> None:
    path = home.inbox / "2025-01-05.jsonl"
    changer = subprocess.Popen([sys.executable, "-c", CHANGER, str(path)], stdout=subprocess.PIPE)
    try:
        assert changer.stdout and changer.stdout.readline() == b"ready\n"
        for _ in range(3):
            for drop in night(home).held:
                assert drop.reason in ("unreadable", "truncated", "too_many_rejects"), drop
    finally:
        changer.kill()
        changer.communicate()
    path.write_bytes(CLIENT)
    night(home)
    assert rows(home, "SELECT count(*) FROM events") == [(1,)]


@pytest.mark.long
def test_an_inbox_with_ten_thousand_files_is_taken_in_one_night(home: Home) -> None:
    for number in range(10_000):
        day = home.inbox / f"2025-01-{number % 28 + 1:02}"
        day.mkdir(exist_ok=True)
        (day / f"{number}.jsonl").write_bytes(CLIENT.replace(b"C1", b"C%d" % number))
    started = time.monotonic()
    night(home)
    first, started = time.monotonic() - started, time.monotonic()
    night(home)
    print(f"\n10,000 files: {first:.1f} s, again: {time.monotonic() - started:.1f} s")
    assert rows(home, "SELECT count(*) FROM clients") == [(10_000,)]
    assert rows(home, "SELECT count(*) FROM drops WHERE status = 'applied'") == [(10_000,)]
