"""What a run asks of DuckDB, Pandera, the libraries and the exact reader, counted: speed held by numbers that do not jitter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import email_validator
import pandera.polars as pa
import phonenumbers
import polars as pl
import pytest
from checked import RULES, create, line, reasons
from homes import home_in, night

import pipelines.logged
import pipelines.pickup
import pipelines.reading
from pipelines import charts, database, mornings, rejected
from pipelines.home import Home
from pipelines.logged import Logged
from pipelines.rejected import InWarehouse, Records, Stretch
from pipelines.reporting import write_reports
from validation import emails, naming, phones
from validation.findings import describe
from validation.naming import FOUND

DAY = "2026-11-16"


def clients(count: int, **fields: Any) -> bytes:
    """Return so many ordinary creates; `{n}` in a field's text is the number of the event."""
    texts = [{name: value.format(n=n) for name, value in fields.items()} for n in range(count)]
    return b"".join(line("client", create("client", **{"client_id": f"C{n}"} | text)) for n, text in enumerate(texts))


def counting(patch: pytest.MonkeyPatch, owner: Any, name: str, counted: Counter[str], *, rows_of: int | None = None) -> None:
    """Count the calls of a function, and the rows of its frames in the argument `rows_of`."""
    function = getattr(owner, name)

    def counted_call(*arguments: Any, **options: Any) -> Any:
        counted[name] += 1
        if rows_of is not None:
            counted[f"{name} rows"] += len(arguments[rows_of])
        return function(*arguments, **options)

    patch.setattr(owner, name, counted_call)


class Counted:
    """A connection that counts the statements it is given."""

    def __init__(self, con: duckdb.DuckDBPyConnection, counted: Counter[str]) -> None:
        self._con, self._counted = con, counted

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._con.close()

    def __getattr__(self, name: str) -> Any:
        if name == "cursor":
            return lambda: Counted(self._con.cursor(), self._counted)
        if name in ("execute", "sql"):
            self._counted["statements"] += 1
        return getattr(self._con, name)


def statements(patch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()
    connect = duckdb.connect
    patch.setattr(database.duckdb, "connect", lambda *arguments, **options: Counted(connect(*arguments, **options), counted))
    return counted


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path)


def test_metadata_is_asked_for_of_the_calling_codes_that_numbers_have(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()
    counting(monkeypatch, phones, "_patterns", asked)
    phones._proof.cache_clear()
    numbers = pl.Series(["+254712345678", "+447911123456", "+254712345679", None, "0712", "x"] * 100)
    assert phones.is_plausible(numbers).sum() == 300
    assert phones.is_plausible(numbers).sum() == 300
    assert asked["_patterns"] <= 3  # +254, +44, and what "0712" looks like


def test_what_is_read_at_a_time_is_checked_at_once_and_does_not_wait_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = clients(600)
    counted: Counter[str] = Counter()
    counting(monkeypatch, pipelines.pickup, "check", counted)
    night(home_in(tmp_path), {f"{DAY}.jsonl": data}, chunk_bytes=len(data) // 10)
    assert 10 <= counted["check"] <= 12  # a quarter of a chunk first; 9, were some waited for together


def test_the_statements_of_a_run_do_not_grow_with_its_events(tmp_path: Path) -> None:
    asked = []
    for count in (20, 2_000):
        with pytest.MonkeyPatch.context() as patch:
            counted = statements(patch)
            night(home_in(tmp_path / str(count)), {f"{DAY}.jsonl": clients(count)})
        asked.append(counted["statements"])
    assert asked[0] == asked[1] > 0


def test_the_statements_of_a_catch_up_grow_by_a_few_a_drop_and_not_with_the_dates_that_stand(tmp_path: Path) -> None:
    asked = []
    for days in (2, 12):
        made = (clients(3).replace(b'"C', f'"D{day}-'.encode()) for day in range(1, days + 1))
        drops = {f"2026-11-{day:02}.jsonl": data + b"no JSON\n" for day, data in enumerate(made, start=1)}
        with pytest.MonkeyPatch.context() as patch:
            counted = statements(patch)
            night(home_in(tmp_path / str(days)), drops)
        asked.append(counted["statements"])
    assert asked[1] - asked[0] <= 4 * 10


def test_plain_lines_and_cells_never_reach_the_exact_reader(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    counting(monkeypatch, pipelines.reading, "read_line", read)
    counting(monkeypatch, pipelines.reading, "read_record", read)
    csv = b"step,client_id,city\n" + b"".join(b"update,C%d,Oslo\n" % n for n in range(500))
    done = night(home, {f"{DAY}/a.jsonl": clients(500), f"{DAY}/b.csv": csv})
    assert (done.applied, read) == (1_000, Counter())


def test_the_libraries_are_asked_once_a_distinct_value_and_never_about_plain_ones(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    counting(monkeypatch, email_validator, "validate_email", asked)
    counting(monkeypatch, phonenumbers, "parse", asked)
    for cached in (emails._words, phones._library_takes):
        cached.cache_clear()
    night(home, {f"{DAY}/plain.jsonl": clients(400, email="jane.doe{n}@example.com", phone="+4420794609{n:02}")})
    assert asked["validate_email"] == 0
    asked.clear()
    unusual = clients(400, email="zoë{n}@bücher.example.com").replace(b'"C', b'"U')
    night(home, {f"{DAY}/unusual.jsonl": unusual})
    assert asked["validate_email"] == len(["a@b.co", "a@bücher.example.com"])
    asked.clear()
    odd = clients(400, email="o'hara{n}@example.com").replace(b'"C', b'"V')
    refused = clients(400, email="mail to zoe{n}@example.com").replace(b'"C', b'"W')
    night(home, {f"{DAY}/odd.jsonl": odd + refused}, hold_above=1.0)
    shapes_of_hara = ["a'aaaaa@b.co", "a'aaaaaa@b.co", "a'aaaaaaa@b.co"]
    shapes_of_zoe = ["aaaa aa aaaa@b.co", "aaaa aa aaaaa@b.co", "aaaa aa aaaaaa@b.co"]
    assert asked["validate_email"] == len([*shapes_of_hara, "a@example.com", *shapes_of_zoe])


def test_pandera_looks_at_what_suspect_rows_break_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    naming._known.clear()
    looked: Counter[str] = Counter()
    counting(monkeypatch, pa.Column, "validate", looked, rows_of=1)
    bad = clients(10, country="UK").replace(b'"C', b'"B')
    done = night(home, {f"{DAY}/a.jsonl": clients(1_000), f"{DAY}/b.jsonl": bad}, hold_above=1.0)
    assert done.rejected == 10
    assert 0 < looked["validate rows"] <= 2


def test_a_sound_sheet_is_checked_in_few_questions_however_many_rules_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()
    for name in ("filter", "select", "with_columns", "sort"):
        counting(monkeypatch, pl.DataFrame, name, asked)
    counting(monkeypatch, pl.LazyFrame, "collect", asked)
    for category in RULES.events:
        asked.clear()
        assert reasons(category, create(category)) == set()
        assert 0 < asked.total() <= 40, (category, asked)  # there were 70, most of them about nothing


def test_describing_costs_by_the_rules_that_were_broken_not_by_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = RULES.event_rules["client"]
    of_email = [rule for rule in rules if rule.field == "email"]
    found = pl.DataFrame([(0, "invalid_email", "email")], schema=FOUND, orient="row")
    frame = pl.DataFrame({"email": ["no address"]})
    counted: list[Counter[str]] = []
    for among in (of_email, rules):
        counted.append(Counter())
        with monkeypatch.context() as patch:
            for name in ("filter", "select", "with_columns", "partition_by"):
                counting(patch, pl.DataFrame, name, counted[-1])
            assert describe(found, among, frame)["code"].to_list() == ["invalid_email"]
    assert len(rules) > 10 * len(of_email)
    assert counted[0] == counted[1]


def test_a_late_drop_reads_the_records_it_names_out_of_the_log_and_no_others(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    night(home, {"2026-11-17.jsonl": clients(2_000)})
    read: Counter[str] = Counter()
    having = Logged.having

    def counted(self: Logged, kind: str, column: str, values: pl.Series) -> pl.DataFrame:
        found = having(self, kind, column, values)
        read["rows"] += len(found)
        return found

    monkeypatch.setattr(Logged, "having", counted)
    late = b"".join(line("client", {"step": "update", "client_id": f"C{n}", "city": "Oslo"}) for n in range(30))
    done = night(home, {"2026-11-16.jsonl": late})
    assert done.events == 60
    assert 0 < read["rows"] <= 2 * 30


def test_a_huge_drop_in_the_order_of_its_ids_is_read_out_of_the_log_once_and_little_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    for count in (200, 600):
        scanned: Counter[str] = Counter()
        with monkeypatch.context() as patch:
            counting(patch, pipelines.logged.pl, "scan_parquet", scanned)
            patch.setattr("pipelines.eventlog._RUN", 1)
            data = clients(count, client_id="C{n:05}")
            night(home_in(tmp_path / str(count)), {f"{DAY}.jsonl": data}, chunk_bytes=len(clients(200)) // 30)
        opened.append(scanned["scan_parquet"])
    assert 0 < opened[1] <= 4 * opened[0]


def test_the_files_of_a_drop_are_read_out_of_the_log_by_one_question_a_kind_and_part(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = clients(200, client_id="C{n:05}")
    scanned: Counter[str] = Counter()
    counting(monkeypatch, pipelines.logged.pl, "scan_parquet", scanned)
    done = night(home, {f"{DAY}.jsonl": data}, chunk_bytes=len(data) // 9)
    files = list(home.log.glob("*/client-*.parquet"))
    assert done.applied == 200
    assert len(files) >= 9
    assert 0 < scanned["scan_parquet"] <= 2 * 6  # two parts and what has no id


def test_a_run_with_nothing_new_decides_and_reports_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    night(home, {f"{DAY}.jsonl": clients(50)})
    done: Counter[str] = Counter()
    counting(monkeypatch, pipelines.reading, "read_chunks", done)
    counting(monkeypatch, pa.Column, "validate", done)
    again = night(home)
    assert (again.events, again.dates, done) == (0, (), Counter())


def test_the_reports_of_many_dates_ask_as_many_questions_as_that_of_one_and_draw_no_chart_a_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, drawn = [], []
    for days in (1, 12):
        home = home_in(tmp_path / str(days))
        bad = clients(30, email="no address")
        night(
            home,
            {f"2026-11-{day:02}.jsonl": bad.replace(b'"C', f'"D{day}-'.encode()) for day in range(1, days + 1)},
            hold_above=1.0,
        )
        counted: Counter[str] = Counter()
        with monkeypatch.context() as patch:
            counting(patch, charts, "_inline", counted)
            with Counted(database.connect(home.working, read_only=True), counted) as con:
                write_reports(con, home, [date(2026, 11, day) for day in range(1, days + 1)])  # type: ignore[arg-type]  # it counts
        assert len(list(home.reports.glob("*/*.rejected.jsonl"))) == days
        asked.append(counted["statements"])
        drawn.append(counted["_inline"])
    assert asked[0] == asked[1] > 0
    assert drawn == [2, 2]


def test_a_large_refused_drop_is_asked_for_by_stretches_and_never_sorted_with_its_bytes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(home, {f"{DAY}.jsonl": clients(3_000, email="no address")}, hold_above=1.0)
    monkeypatch.setattr(mornings, "SHOWN_AT_MOST", 1_000)
    monkeypatch.setattr(rejected, "_BYTES_AT_ONCE", 64 * 1024)
    largest: Counter[str] = Counter()
    of_warehouse = InWarehouse.stretches

    def stretches(refused: InWarehouse, line_end: bytes) -> Iterator[Stretch]:
        for records, why in of_warehouse(refused, line_end):
            assert isinstance(records, Records)
            largest["bytes"] = max(largest["bytes"], records.content.nbytes)
            largest["reasons"] = max(largest["reasons"], len(why))
            yield Stretch(records, why)

    monkeypatch.setattr(InWarehouse, "stretches", stretches)
    with database.connect(home.working, read_only=True) as con:
        write_reports(con, home, [date.fromisoformat(DAY)])
    assert 0 < largest["bytes"] <= 2 * 64 * 1024
    assert 0 < largest["reasons"] <= 600
