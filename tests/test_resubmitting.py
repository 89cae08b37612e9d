"""Which issued bounce a fixed file answers, and which line stands for which: on bounces that real nights issued."""

from __future__ import annotations

import gzip
import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from checked import create, line
from homes import home_in, night, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import acts
from pipelines.archive import Archive
from pipelines.home import Home, Settings
from pipelines.issues import all_issues, digests
from pipelines.problems import NightdropError, UsageError
from pipelines.resubmitting import Resubmitted, match

MONDAY = date(2026, 11, 16)
JSONL, CSV = "2026-11-16/clients.jsonl", "2026-11-16/clients.csv"
HEADER = b"step,client_id,name,phone,address,country,is_company,registration_number,gender,email\r\n"


def bad(client_id: str) -> bytes:
    return line("client", create("client", client_id=client_id, country="UK"))


def good(client_id: str) -> bytes:
    return line("client", create("client", client_id=client_id))


def row(client_id: str, *, name: bytes = b"Jo", country: bytes = b"UK") -> bytes:
    return b"create,%s,%s,+254712345678,1 A St,%s,false,ID-1,male,jo@example.com\r\n" % (client_id.encode(), name, country)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "home")


def issued(home: Home, path: str, day: date = MONDAY) -> Path:
    """Return the bounce of a drop as it lies in the reports."""
    stem = path.replace("/", "__")
    (found,) = (file for file in (home.reports / str(day)).glob(f"{stem}.*") if not file.name.endswith(".reasons.csv"))
    return found


def fixed(home: Home, path: str, content: bytes, *, name: str | None = None) -> Path:
    """Write a fixed file somewhere else, under the bounce's name or another."""
    place = home.root / "mended"
    place.mkdir(exist_ok=True)
    file = place / (name or issued(home, path).name)
    file.write_bytes(content)
    return file


def slots(found: Resubmitted) -> list[tuple[int, int | None]]:
    return found.slots.select("line", "its_line").rows()


def clients(home: Home) -> None:
    night(home, {JSONL: bad("C1") + good("C2") + b"\n" + bad("C3") + b'{"torn' + b"\n" + good("C4")})


def test_a_bounce_as_it_was_issued_answers_itself_line_by_line(home: Home) -> None:
    clients(home)
    found = match(home, issued(home, JSONL))
    assert (found.issue.path, found.issue.business_date, found.issue.header) == (JSONL, MONDAY, b"")
    assert [(found.issue.sha256,)] == rows(home, "SELECT sha256 FROM drops")
    assert slots(found) == [(1, 1), (4, 2), (5, 3)]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (good("C1") + b"\n" + good("C5"), [(1, 1), (4, None), (5, 3)]),
        (b" \t\r\n" + good("C3").rstrip() + b"\r\n" + good("C5").rstrip(), [(1, None), (4, 2), (5, 3)]),
        (b"\n\n\n", [(1, None), (4, None), (5, None)]),
        (b"\xef\xbb\xbf" + b"\xff\xfe\r\n{}\n\xfe", [(1, 1), (4, 2), (5, 3)]),
        (b"\xef\xbb\xbf\n{\r}\n\x00", [(1, None), (4, 2), (5, 3)]),
    ],
)
def test_every_line_is_a_slot_whatever_its_bytes(home: Home, content: bytes, wanted: list[tuple[int, int | None]]) -> None:
    clients(home)
    assert slots(match(home, fixed(home, JSONL, content))) == wanted


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bad("C1") + bad("C3"), "too few lines: it has 2 records and blank lines, 3 were issued"),
        (bad("C1") + bad("C3") + b"{}\n\n", "too many lines: it has 4"),
        (b"", "too few lines: it has 0"),
        ("a\nb\nc".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08", "packed"),
    ],
)
def test_a_file_with_other_slots_is_refused_in_words(home: Home, content: bytes, words: str) -> None:
    clients(home)
    file = fixed(home, JSONL, content)
    before = sorted(home.root.rglob("*"))
    with pytest.raises(UsageError, match=words) as refused:
        match(home, file)
    assert "Nothing was changed." in str(refused.value)
    assert str(file) in str(refused.value)
    assert sorted(home.root.rglob("*")) == before


def test_csv_records_may_span_lines_and_be_empty_or_torn(home: Home) -> None:
    spanning = row("C1", name=b'"Jo\r\n\r\nDoe"')
    night(home, {CSV: HEADER + spanning + row("C2") + b"\r\n" + row("C3", country=b"KE") + row("C4") + b"x\xff,y\r\n"})
    bounce = issued(home, CSV)
    assert bounce.read_bytes() == HEADER + spanning + row("C2") + row("C4") + b"x\xff,y\r\n"
    assert slots(match(home, bounce)) == [(2, 2), (5, 5), (8, 6), (9, 7)]
    mended = HEADER + b"\r\n" + row("C2", name=b'"a ""b""\n,"') + row("C4")[:-2] + b"\n" + b'""'
    assert slots(match(home, fixed(home, CSV, mended))) == [(2, None), (5, 3), (8, 5), (9, 6)]
    torn = HEADER + b"\n\n\n" + b'create,C5,"never closed\n\n'
    assert slots(match(home, fixed(home, CSV, torn))) == [(2, None), (5, None), (8, None), (9, 5)]


def test_a_csv_must_keep_its_header_but_not_its_quotes_and_line_ends(home: Home) -> None:
    night(home, {CSV: HEADER + row("C1") + row("C2")})
    quoted = b"\xef\xbb\xbf" + b",".join(b'"%s"' % name for name in HEADER.strip().split(b",")) + b"\n" + row("C1") + b"\n"
    assert slots(match(home, fixed(home, CSV, quoted))) == [(2, 2), (3, None)]
    for other in (HEADER.replace(b"phone", b"tel"), HEADER.replace(b",", b";"), b"", b"\xff\n", b'"'):
        with pytest.raises(UsageError, match=r"its header is .*; wanted it as it was issued"):
            match(home, fixed(home, CSV, other + b"\n\n" if not other else other + row("C1") + row("C2")))
    with pytest.raises(UsageError, match="a quote that is not closed takes the lines after it"):
        match(home, fixed(home, CSV, HEADER + row("C1", name=b'"Jo') + row("C2")))


def test_a_bounce_is_remembered_after_the_warehouse_moved_on(home: Home) -> None:
    night(home, {"2026-11-17.jsonl": line("loan", create("loan", client_id="C1")) + b"{}\n" + b"[]\n"})
    first = issued(home, "2026-11-17.jsonl", date(2026, 11, 17))
    old = Path(shutil.copy(first, home.root / first.name))
    night(home, {JSONL: good("C1")})
    assert slots(match(home, old)) == [(1, 1), (2, 2), (3, 3)]
    assert slots(match(home, first)) == [(2, 1), (3, 2)]
    shutil.rmtree(home.reports)
    assert slots(match(home, old)) == [(1, 1), (2, 2), (3, 3)]


def two_issues_of_one_length(home: Home) -> tuple[Path, Path]:
    """Issue C1 and C2 of a drop, then C1 and C3 of it under the same name."""
    loans = b"".join(line("loan", create("loan", client_id=f"C{n}", loan_id=f"L{n}")) for n in (1, 2, 3))
    night(home, {JSONL: good("C3"), "2026-11-16/loans.jsonl": loans})
    old = Path(shutil.copy(issued(home, "2026-11-16/loans.jsonl"), home.root))
    night(home, {JSONL: good("C2")})
    return old, issued(home, "2026-11-16/loans.jsonl")


def test_of_two_issues_under_one_name_the_ids_and_untouched_lines_tell_which(home: Home) -> None:
    old, now = two_issues_of_one_length(home)
    assert old.name == now.name
    assert slots(match(home, old)) == [(1, 1), (2, 2)]
    assert slots(match(home, now)) == [(1, 1), (3, 2)]
    now.write_bytes(now.read_bytes().replace(b"KES", b"EUR"))
    assert slots(match(home, now)) == [(1, 1), (3, 2)]


def test_when_nothing_tells_which_issue_it_is_the_file_is_refused(home: Home) -> None:
    old, _ = two_issues_of_one_length(home)
    old.write_bytes(b"{}\n{}\n")
    with pytest.raises(UsageError, match="it may answer any of 2 bounces") as refused:
        match(home, old)
    for words in ("of lines 1, 2 of", "of lines 1, 3 of", "Nothing was changed."):
        assert words in str(refused.value)


@pytest.mark.parametrize("name", ["{} (1).jsonl", "{}.jsonl.edited", "Copy of {}.jsonl"])
def test_a_copy_that_keeps_the_name_in_its_own_is_known_by_it(home: Home, name: str) -> None:
    clients(home)
    copy = fixed(home, JSONL, b"{}\n\n{}\n", name=name.format(issued(home, JSONL).name.removesuffix(".jsonl")))
    assert slots(match(home, copy)) == [(1, 1), (4, None), (5, 3)]


def test_a_renamed_file_is_known_by_its_header_length_and_ids(home: Home) -> None:
    clients(home)
    night(home, {CSV: HEADER + row("C7") + row("C8") + row("C9"), "2026-11-16/more.jsonl": bad("C1") + bad("C2") + bad("C3")})
    assert match(home, fixed(home, JSONL, good("C1") + good("C3") + b"\n", name="mine")).issue.path == JSONL
    assert match(home, fixed(home, CSV, HEADER + b"\n" + row("C8") + row("C9"), name="mine.txt")).issue.path == CSV
    for strange in (b"{}\n{}\n{}\n", b"\n\n\n", good("C9") * 3, HEADER + row("C1") * 3, b"{}\n"):
        with pytest.raises(UsageError, match="no bounce file that was issued here"):
            match(home, fixed(home, JSONL, strange, name="mine"))


def test_what_is_no_bounce_at_all_is_told_apart(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no bounce file that was issued here"):
        match(home, fixed(home, JSONL, b"{}\n", name="any.jsonl"))
    clients(home)
    reasons = issued(home, JSONL).with_name(f"{issued(home, JSONL).name}.reasons.csv")
    with pytest.raises(UsageError, match="list of reasons"):
        match(home, reasons)
    for nothing in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="no such file"):
            match(home, nothing)


def test_the_same_issue_is_kept_once_and_a_damaged_one_is_named(home: Home) -> None:
    clients(home)
    night(home, {"2026-11-16/more.jsonl": bad("C9")})
    kept = sorted((home.state / "bounces").iterdir())
    assert len(kept) == 2
    for file in kept:
        file.write_bytes(b"PAR1")
    with pytest.raises(NightdropError, match=r"\.parquet: what was kept of an issued bounce is damaged"):
        match(home, issued(home, JSONL))


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_what_was_issued_is_looked_up_in_the_archive_packed_or_corrected(home: Home, suffix: str) -> None:
    lines = bad("C1") + bad("C2") + bad("C3") + bad("C4")
    night(home, {f"2026-11-16.{suffix}": gzip.compress(lines) if suffix.endswith(".gz") else lines})
    (bounce,) = home.reports.glob("*/*.rejected.jsonl")
    worse = bounce.read_bytes().replace(b'"UK"', b'"XX"', 2)
    # The records of the file are not where those of the drop are.
    acts.resubmit(home, Settings(), Path(shutil.copy(bounce, home.root / bounce.name)))
    (home.root / bounce.name).write_bytes(worse[: worse.index(b"\n") + 1] + b"\n" + worse[worse.index(b"\n", 300) + 1 :])
    acts.resubmit(home, Settings(), home.root / bounce.name)
    (bounce,) = home.reports.glob("*/*.rejected.jsonl")
    assert bounce.read_bytes().count(b"XX") == 1
    assert match(home, bounce).slots["fixed"].to_list() == [False] * 4
    bounce.write_bytes(bounce.read_bytes().replace(b'"XX"', b'"KE"').replace(b"C3", b"C5"))
    assert match(home, bounce).slots["fixed"].to_list() == [True, False, True, False]


def test_an_issue_that_was_kept_with_digests_is_known_as_well_and_is_the_same(home: Home) -> None:
    clients(home)
    (kept,) = (home.state / "bounces").iterdir()
    (known,) = all_issues(home)
    told = known.slots.select("line", "id", digest=pl.Series(digests(known, Archive(home.archive))))
    metadata = {"nightdrop": pl.read_parquet_metadata(kept)["nightdrop"]}
    told.write_parquet(kept.with_name(f"{kept.name.partition('.')[0]}.{'0' * 64}.parquet"), metadata=metadata)
    mended = fixed(home, JSONL, bad("C1") + good("C3") + b"\n")
    both = match(home, mended).slots
    kept.unlink()
    assert both.rows() == match(home, mended).slots.rows() == [(1, 1, False), (4, 2, True), (5, None, True)]


@pytest.mark.parametrize(("path", "harm"), [("2026-11-16.jsonl", b""), ("2026-11-16.jsonl.gz", b"no gzip")])
def test_an_archived_original_that_is_damaged_is_named(home: Home, path: str, harm: bytes) -> None:
    night(home, {path: gzip.compress(bad("C1")) if path.endswith(".gz") else bad("C1")})
    (kept,) = (file for file in home.archive.rglob("*") if file.is_file())
    kept.chmod(0o640)
    kept.write_bytes(harm)
    (bounce,) = home.reports.glob("*/*.rejected.jsonl")
    with pytest.raises(NightdropError, match=kept.name):
        match(home, bounce)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(st.binary(max_size=12).filter(lambda cell: b"\n" not in cell), min_size=3, max_size=3), last=st.booleans()
)
def test_any_bytes_on_three_lines_are_three_slots(tmp_path_factory, contents: list[bytes], last: bool) -> None:
    home = made_once(tmp_path_factory)
    content = b"\n".join(contents) + b"\n" * last
    if (
        content[:2] in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"PK")
        or content.startswith(b"\x28\xb5")
        or not (last or contents[2])
    ):
        return
    found = match(home, fixed(home, JSONL, content))
    first = contents[0].removeprefix(b"\xef\xbb\xbf")
    filled = [bool(cell.strip()) for cell in (first, *contents[1:])]
    assert slots(found) == [
        (at, number if there else None) for at, number, there in zip((1, 4, 5), (1, 2, 3), filled, strict=True)
    ]


_HOMES: list[Home] = []


def made_once(tmp_path_factory: pytest.TempPathFactory) -> Home:
    if not _HOMES:
        _HOMES.append(home_in(tmp_path_factory.mktemp("once") / "home"))
        clients(_HOMES[0])
    return _HOMES[0]
