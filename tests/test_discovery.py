"""What counts as a drop, where it stands, and why one cannot be read."""

from __future__ import annotations

import os
import socket
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.discovery import business_date, discover, drop_format, is_ignored, path_key
from pipelines.problems import NightdropError


def put(inbox: Path, path: str, text: str = "x") -> Path:
    file = inbox / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("2024-01-15/clients.jsonl", date(2024, 1, 15)),
        ("clients_20240115.csv", date(2024, 1, 15)),
        ("clients-20240115063000.csv.gz", date(2024, 1, 15)),
        ("2024-02-30/clients-2024-03-01.jsonl", date(2024, 3, 1)),
        ("2024-13-012024-01-02.jsonl", None),
        ("12024-01-15.jsonl", None),
        ("2024-01-155.jsonl", None),
        ("202401151.jsonl", None),
        ("2024011506300.jsonl", None),
        ("0001-01-20/2024-01-02.jsonl", date(1, 1, 20)),
        ("01-2024-01-02-03.jsonl", date(2024, 1, 2)),
        ("0000-01-01.jsonl", None),
        ("\u0662\u0660\u0662\u0664-\u0660\u0661-\u0661\u0665.jsonl", None),
        ("2024-0115.jsonl", None),
        ("2024/01/15/clients.jsonl", None),
        ("20240115/20240116.jsonl", date(2024, 1, 15)),
    ],
)
def test_the_business_date_is_the_first_valid_one_that_touches_no_other_digit(path: str, day: date | None) -> None:
    assert business_date(path) == day


def test_paths_sort_by_segments_with_numbers_as_numbers_before_other_characters() -> None:
    in_order = [
        "a",
        "a/b",
        "a1",
        "a02",
        "a2",
        "a2b",
        "a10",
        "a-",
        "aa",
        "b/01x",
        "b/1",
        "b/-",
        "part-2",
        "part-10",
        "part-x",
        "é",
    ]
    assert sorted(set(in_order), key=path_key) == in_order


def test_a_number_of_thousands_of_digits_is_still_a_number() -> None:
    assert path_key("9" * 5000) < path_key("1" + "0" * 5000)


@given(st.lists(st.text("0129a-/é", min_size=1, max_size=8), min_size=2, max_size=2, unique=True))
def test_no_two_paths_share_a_position(paths: list[str]) -> None:
    assert path_key(paths[0]) != path_key(paths[1])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("a.jsonl", ("jsonl", None)),
        ("a.ndjson.gz", ("jsonl", "gz")),
        ("a.csv.zst", ("csv", "zst")),
        ("a.CSV", None),
        ("a.csv.GZ", None),
        ("a.csv.gz.gz", None),
        ("a.gz", None),
        ("a.json", None),
        ("a", None),
    ],
)
def test_the_suffix_states_the_format_in_lower_case(name: str, shape: tuple[str, str | None] | None) -> None:
    assert drop_format(name) == shape


def test_unfinished_and_accompanying_files_are_no_drops() -> None:
    for name in (
        ".a.csv",
        "_a.csv",
        "a.csv.tmp",
        "a.part",
        "a.crdownload",
        "a.filepart",
        "a.md5",
        "a.done",
        "a.ok",
        "README.md",
        "a.csv.manifest.json",
    ):
        assert is_ignored(name), name
    assert not is_ignored("a.csv")
    assert not is_ignored("manifest.json")
    assert not is_ignored("load.tmp", folder=True)
    assert is_ignored("_staging", folder=True)


def test_drops_are_found_at_any_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for path in (
        "2024-01-02/part-10.csv",
        "2024-01-02/part-2.csv",
        "2024-01-02/x.jsonl/deep/a.ndjson.gz",
        "_away/2024-01-02.csv",
        "2024-01-02/.a.csv",
        "2024-01-02/a.csv.tmp",
    ):
        put(tmp_path, path)
    found = discover(tmp_path)
    assert [drop.path for drop in found] == [
        "2024-01-02/part-2.csv",
        "2024-01-02/part-10.csv",
        "2024-01-02/x.jsonl/deep/a.ndjson.gz",
    ]
    last = found[-1]
    assert (last.format, last.compression, last.business_date, last.bytes, last.hold) == (
        "jsonl",
        "gz",
        date(2024, 1, 2),
        1,
        None,
    )
    assert last.mtime_ns == last.location.stat().st_mtime_ns


def test_a_file_without_date_or_known_format_is_held_with_its_reason(tmp_path: Path) -> None:
    put(tmp_path, "clients.csv")
    put(tmp_path, "2024-01-02.xlsx")
    put(tmp_path, "notes.txt")
    assert {drop.path: drop.hold and drop.hold[0] for drop in discover(tmp_path)} == {
        "2024-01-02.xlsx": "unknown_format",
        "clients.csv": "no_business_date",
        "notes.txt": "unknown_format",
    }


def test_what_is_no_file_is_held_and_never_opened(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    put(tmp_path, "outside/2024-01-02.csv")
    real = put(inbox, "2024-01-02/real.csv")
    (inbox / "2024-01-02/inside.csv").symlink_to(real)
    (inbox / "2024-01-02/out.csv").symlink_to(tmp_path / "outside/2024-01-02.csv")
    (inbox / "2024-01-02/broken.csv").symlink_to("nowhere")
    (inbox / "2024-01-03").symlink_to(tmp_path / "outside")
    (inbox / "2024-01-02/loop").symlink_to(inbox)
    os.mkfifo(inbox / "2024-01-02/fifo.csv")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(inbox / "2024-01-02/socket"))
        holds = {drop.path: drop.hold and drop.hold[0] for drop in discover(inbox)}
    no_file = dict.fromkeys(("broken.csv", "fifo.csv", "loop", "out.csv", "socket"), "not_a_file")
    assert holds == {
        "2024-01-02/inside.csv": None,
        "2024-01-02/real.csv": None,
        "2024-01-03": "not_a_file",
        **{f"2024-01-02/{name}": reason for name, reason in no_file.items()},
    }


def test_a_folder_linked_within_the_inbox_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path, "a/2024-01-02.csv")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert [drop.path for drop in discover(tmp_path)] == ["a/2024-01-02.csv", "b/2024-01-02.csv"]


def test_a_name_that_is_no_utf8_is_written_with_backslashes(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"2024-01-02 caf\xe9.csv")).write_text("x")
    [drop] = discover(tmp_path)
    assert drop.path == "2024-01-02 caf\\xe9.csv"
    assert drop.location.read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_or_folder_without_permission_is_held_not_skipped(tmp_path: Path) -> None:
    put(tmp_path, "2024-01-02/secret.csv").chmod(0)
    put(tmp_path, "2024-01-03/closed/a.csv").parent.chmod(0)
    try:
        holds = {drop.path: drop.hold and drop.hold[0] for drop in discover(tmp_path)}
    finally:
        (tmp_path / "2024-01-03/closed").chmod(0o700)
    assert holds == {"2024-01-02/secret.csv": "unreadable", "2024-01-03/closed": "unreadable"}


def test_an_empty_inbox_has_no_drops(tmp_path: Path) -> None:
    assert discover(tmp_path) == []


def test_a_missing_inbox_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NightdropError, match="nightdrop init"):
        discover(tmp_path / "inbox")
    (tmp_path / "inbox").write_text("")
    with pytest.raises(NightdropError, match="must be a folder"):
        discover(tmp_path / "inbox")
