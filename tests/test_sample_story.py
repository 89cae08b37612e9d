"""The sample drops of the repository are what docs/sample.md says they are."""

from __future__ import annotations

import gzip
import re
from datetime import date
from pathlib import Path

import oracle
import pytest
import zstandard

from pipelines.sampling import draw_sample

ROOT = Path(__file__).parent.parent
INBOX = ROOT / "data" / "inbox"
PAGE = (ROOT / "docs" / "sample.md").read_text(encoding="utf-8")
FILES = sorted(path for path in INBOX.rglob("*") if path.is_file())
GENERATED = "core/2026-11-19/"


def name(path: Path) -> str:
    return path.relative_to(INBOX).as_posix()


def content(path: Path) -> bytes:
    """Return the uncompressed bytes."""
    match path.suffix:
        case ".gz":
            return gzip.decompress(path.read_bytes())
        case ".zst":
            return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        case _:
            return path.read_bytes()


def reasons() -> list[tuple[str, str, str, list[int]]]:
    """Return the page's table: kind, code, file and its lines."""
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    return [
        (kind, code, path, [int(line) for line in lines.replace(",", " ").split()])
        for kind, code, places in rows
        for path, lines in re.findall(r"`([^`]+)`([ \d,]*)", places)
    ]


def test_the_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < 300_000
    for path in FILES:
        if not name(path).startswith(GENERATED):
            assert path.stat().st_size < 6_000, name(path)
            assert content(path).count(b"\n") < 20, name(path)


def test_the_drops_are_of_four_dates_and_one_has_none() -> None:
    dates = {
        name(path): re.sub(r"(\d{4})-?(\d\d)-?(\d\d)", r"\1-\2-\3", found[0])
        for path in FILES
        if (found := re.search(r"(?<!\d)(2026-\d\d-\d\d|2026\d{4})(?!\d(?!\d{5}(?!\d)))", name(path)))
    }
    assert set(dates.values()) == {"2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19"}
    assert dates["core/2026-11-16/late/sent-2026-11-18/clients.jsonl"] == "2026-11-16"
    assert dates["branches/lisbon_20261117083000.csv"] == "2026-11-17"
    assert {name(path) for path in FILES} - set(dates) == {"desk/new-clients.csv"}


def test_every_format_is_among_the_drops() -> None:
    suffixes = {"".join(path.suffixes) for path in FILES}
    assert suffixes == {".jsonl", ".ndjson", ".csv", ".jsonl.gz", ".csv.gz", ".jsonl.zst"}


def test_nobody_real_can_be_written_to() -> None:
    for path in FILES:
        for domain in re.findall(rb"@([\w.-]+\.[a-z]+)[\",]", content(path)):
            assert re.fullmatch(rb"(.+\.)?example\.(com|org|net)", domain), (name(path), domain)


def test_the_example_client_of_the_contract_is_there() -> None:
    first = content(INBOX / "core/2026-11-16/clients.jsonl").splitlines()[0]
    assert b"john.doe@example.com" in first
    assert b'"+1234567890"' in first


def test_the_csv_has_the_shapes_that_the_page_names() -> None:
    lines = (INBOX / "branches/lisbon_20261117083000.csv").read_bytes()
    assert lines.startswith(b"\xef\xbb\xbfcategory,step,")
    assert lines.count(b"\r\n") == lines.count(b"\n") - 1, "one line end is inside a quoted cell"
    assert re.search(rb'"7 Rua Augusta\n1100-048', lines)
    assert rb"\N" in lines
    assert b"\n,create," in lines
    assert b"\ndisbursement,create," in lines


def test_the_held_file_breaks_off_in_its_last_line() -> None:
    assert not content(INBOX / "core/20261118/deposits.jsonl").endswith((b"\n", b"}"))


def test_the_page_tells_where_each_reason_is_earned() -> None:
    tables = oracle.expected({name(path): path.read_bytes() for path in FILES})
    earned = {
        (row[columns.index("code")], row[columns.index("path")], row[columns.index("line")])
        for table in ("rejections", "warnings")
        for columns in [oracle.COLUMNS[table]]
        for row in tables[table]
        if row[columns.index("business_date")] != date(2026, 11, 19)
    }
    columns = oracle.COLUMNS["drops"]
    held = {(row[columns.index("reason")], row[columns.index("path")]) for row in tables["drops"]} - {
        (None, name(path)) for path in FILES
    }
    assert {(code, path, line) for _, code, path, lines in reasons() for line in lines} == earned
    assert {(code, path) for _, code, path, lines in reasons() if not lines} == held


def test_the_page_names_every_reason_of_each_kind_once() -> None:
    codes = {(kind, code) for kind, code, _, _ in reasons()}
    counts = {kind: sum(one == kind for one, _ in codes) for kind, _ in codes}
    assert counts == {"Lines": 8, "Fields": 14, "Lifecycle": 12, "Records": 8, "Warnings": 5, "Held": 2}


@pytest.mark.parametrize("table", ["clients", "deposits", "loans", "payments"])
def test_the_fourth_date_is_what_the_sampler_draws_today(table: str) -> None:
    sample = draw_sample(events=2_000, seed=2026, first_day=date(2026, 11, 19))
    (path,) = INBOX.glob(f"{GENERATED}{table}.*")
    assert content(path).decode().splitlines() == sample.drops[f"2026-11-19/{table}.jsonl"].to_list()
    assert sum(sample.refused.values()) == 80
