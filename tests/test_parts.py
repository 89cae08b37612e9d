"""Parts: a large change is decided a range of ids at a time, in memory that does not grow with it, and ends like any other."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl
import pytest
from checked import create, line
from homes import home_in, night, rows, tables
from hypothesis import given
from hypothesis import strategies as st

from pipelines import database, deciding, eventlog, inserting, schema, threads
from pipelines.eventlog import EventLog, PartWriter
from pipelines.home import Home
from pipelines.logform import CHOSEN, EDITIONS, FIXES
from pipelines.logged import NAMELESS, Ids
from pipelines.logorder import in_steps, stretch
from pipelines.problems import NightdropError
from pipelines.rewinding import rewind
from pipelines.shift import working_warehouse
from pipelines.standing import Now, lives_schema
from validation.client import CLIENT

WHOLE = 1 << 20
SMALL = 200
"""So few bytes at a time that nearly every record is a part of its own."""


def update(category: str, key: str, **changes: Any) -> bytes:
    return line(category, {"step": "update", f"{category}_id": key, **changes})


def clients(first: int, count: int, **fields: Any) -> bytes:
    return b"".join(line("client", create("client", client_id=f"C{n:04}", **fields)) for n in range(first, first + count))


def loans(first: int, count: int, **fields: Any) -> bytes:
    made = (create("loan", loan_id=f"L{n:04}", client_id=f"C{n:04}", **fields) for n in range(first, first + count))
    return b"".join(line("loan", loan) for loan in made)


MONDAY = clients(0, 20) + loans(0, 25) + b"no JSON\n" + line("client", create("client", client_id=7))
TUESDAY = b"".join(update("client", f"C{n:04}", city="Oslo") for n in range(0, 30, 2)) + loans(25, 5)
WEDNESDAY = line("client", {"step": "delete", "client_id": "C0003"}) + update("loan", "L0004", client_id="C0000") + loans(0, 2)
LATE = clients(20, 10, email="x") + clients(20, 8)
NIGHTS = [{"2026-11-16.jsonl": MONDAY}, {"2026-11-17.jsonl": TUESDAY, "2026-11-18.jsonl": WEDNESDAY}, {"2026-11-15.jsonl": LATE}]


def after_all(folder: Path, chunk_bytes: int) -> tuple[Home, dict[str, Any]]:
    home = home_in(folder)
    for drops in NIGHTS:
        night(home, drops, chunk_bytes=chunk_bytes)
    return home, tables(home)


def test_a_large_late_change_ends_like_a_small_one_and_tells_the_same_flips(tmp_path: Path) -> None:
    homes = [after_all(tmp_path / str(size), size) for size in (WHOLE, SMALL)]
    assert homes[0][1] == homes[1][1]
    flips = "SELECT business_date, path, line, was, now, because_path FROM verdict_changes ORDER BY ALL"
    told = [rows(home, flips) for home, _ in homes]
    assert told[0] == told[1] != []
    causes = "SELECT business_date, path, line, cause_path, cause_line FROM rejections WHERE cause_line IS NOT NULL ORDER BY ALL"
    assert rows(homes[0][0], causes) == rows(homes[1][0], causes)


def test_no_part_settles_more_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[int] = []
    settle = deciding.settle

    def counted(entity: Any, rules: Any, before: pl.DataFrame, events: pl.DataFrame, parents: pl.DataFrame) -> Any:
        settled.append(len(events))
        return settle(entity, rules, before, events, parents)

    monkeypatch.setattr(deciding, "settle", counted)
    data = clients(0, 1_000)
    chunk = len(data) // 80  # a part is eight of them
    done = night(home_in(tmp_path), {"2026-11-16.jsonl": data}, chunk_bytes=chunk)
    assert done.applied == sum(settled) == 1_000
    assert len(settled) >= 9
    assert max(settled) < 200


def test_a_hot_record_is_settled_whole_however_small_the_parts(tmp_path: Path) -> None:
    data = clients(0, 1) + b"".join(update("client", "C0000", city=f"City {n}") for n in range(300))
    home = home_in(tmp_path)
    done = night(home, {"2026-11-16.jsonl": data}, chunk_bytes=SMALL)
    assert done.applied == 301
    assert rows(home, "SELECT city FROM clients") == [("City 299",)]


def test_rewinding_to_a_date_leaves_what_stood_the_evening_before(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    night(home, {"2026-11-16.jsonl": MONDAY})
    before = tables(home)
    night(home, {"2026-11-17.jsonl": TUESDAY, "2026-11-18.jsonl": WEDNESDAY})
    with working_warehouse(home) as con, database.transaction(con):
        rewind(con, date(2026, 11, 17))
    with database.connect(home.working, read_only=True) as con:
        for table in set(before) - {"drops"}:
            assert con.execute(f"SELECT count(*) FROM {table}").fetchall() == [(len(before[table]),)], table
        assert con.execute("SELECT count(*) FROM client_history WHERE valid_to IS NOT NULL").fetchall() == [(0,)]


def test_rows_that_were_handed_over_in_a_transaction_are_free_again_before_it_ends(tmp_path: Path) -> None:
    with database.connect(tmp_path / "w.duckdb") as con, database.transaction(con):
        con.execute("CREATE TABLE numbers (n BIGINT)")
        frame = pl.DataFrame({"n": range(10)}).to_arrow()
        alive = weakref.ref(frame)
        with database.handed_over(con, incoming=frame):
            con.execute("INSERT INTO numbers FROM incoming")
        del frame
        gc.collect()
        assert alive() is None
        assert con.execute("SELECT count(*), sum(n) FROM numbers").fetchall() == [(10, 45)]


def test_what_waits_for_a_whole_row_group_keeps_no_other_rows_texts() -> None:
    from pipelines.loading import _by_itself

    every = pl.DataFrame({"text": ["a text that is too long to lie within its view " * 40] * 10_000})
    kept = _by_itself(every.slice(9_999))
    assert kept.to_arrow().nbytes < every.to_arrow().nbytes / 100
    assert kept.equals(every.slice(9_999))


def test_polars_has_met_numpy_and_arrow_before_there_is_a_thread() -> None:
    # It imports them where it first meets them, and two threads that do so at once break it.
    asks = "import pipelines.threads, polars._dependencies as met; print(type(met.numpy).__name__, type(met.pyarrow).__name__)"
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["module", "module"]
    modules = {file.name: file.read_text() for file in Path(threads.__file__).parent.glob("*.py")}
    makers = {name for name, text in modules.items() if "ThreadPoolExecutor(" in text}
    assert makers == {"threads.py", "archive.py"}
    assert "polars" not in modules["archive.py"] + modules["copying.py"]  # what its threads do


def test_small_questions_are_asked_of_the_engine_that_begins_at_once() -> None:
    asks = "import pipelines.threads, polars; from polars.config import get_engine_affinity_override as of; print(of())"
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "InMemoryEngine()"


ids = st.text("ab0é\U0001f600", max_size=3)


@given(st.lists(ids, max_size=60), st.integers(1, 9))
def test_ranges_of_ids_hold_every_id_once_and_null_none(names: list[str], parts: int) -> None:
    found = Ids.cut(pl.Series(names, dtype=pl.String), parts)
    assert len(found) <= parts
    frame = pl.DataFrame({"id": [*names, None]}, schema={"id": pl.String})
    held = [frame.select(part.hold("id").fill_null(value=True)).to_series().to_list() for part in (*found, NAMELESS)]
    assert [sum(column) for column in zip(*held, strict=True)] == [1] * len(frame)


@given(st.lists(st.lists(st.none() | ids, min_size=1, max_size=150), min_size=1, max_size=4), st.none() | ids, st.none() | ids)
def test_a_file_in_steps_has_the_rows_of_a_range_where_it_says(
    came: list[list[str | None]], first: str | None, end: str | None
) -> None:
    frames = [pl.DataFrame({"id": some}, schema={"id": pl.String}).sort("id") for some in came]
    file, steps = in_steps(frames, "id")
    assert file.sort("id").equals(pl.concat(frames).sort("id"))
    for wanted in (Ids(first, end), NAMELESS):
        start, stop = stretch(steps, wanted.first, wanted.end, none=wanted.none)
        held = file.slice(start, max(0, stop - start)).filter(wanted.hold("id"))
        assert held.sort("id").equals(file.filter(wanted.hold("id")).sort("id"))


def test_a_file_in_steps_is_read_by_few_of_them() -> None:
    frames = [pl.DataFrame({"id": [f"{n:06}" for n in range(start, 80_000, 8)]}) for start in range(8)]
    file, steps = in_steps(frames, "id")
    start, stop = stretch(steps, "040000", "040100")
    assert 100 <= stop - start <= 2 * len(file) // 64
    assert stretch(steps, "080000", None) == stretch(steps, None, "000000") == (0, 0)


@pytest.mark.parametrize("by_id", [False, True])
def test_the_log_gives_each_range_what_it_has_of_it_and_the_nameless_apart(tmp_path: Path, by_id: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(eventlog, "_GROUP", 2)  # groups of few rows, as in a large file
    monkeypatch.setattr("pipelines.logged._SAMPLED", 1)
    write = PartWriter.__init__
    monkeypatch.setattr(PartWriter, "__init__", lambda self, folder, name, **_: write(self, folder, name, by_id=by_id))
    home = home_in(tmp_path)
    night(home, {"2026-11-16.jsonl": MONDAY + TUESDAY}, chunk_bytes=2_000)
    log = EventLog(home.log)
    (part,) = [place.name for place in home.log.iterdir() if not place.name.startswith(".")]
    chosen = pl.DataFrame([(part, 0, 0, date(2026, 11, 16))], schema=CHOSEN, orient="row")
    logged = log.read(chosen, pl.DataFrame(schema=FIXES))
    whole = logged.index().collect()
    assert len(whole) == logged_records(home)
    ranges = {category: logged.ids(category, 5) for category in ("client", "loan")}
    assert min(map(len, ranges.values())) >= 4
    parts = [logged.of(one, category) for category, some in ranges.items() for one in some]
    found = pl.concat([some.index().collect() for some in (*parts, logged.of(NAMELESS))])
    assert found.sort("pos").equals(whole.sort("pos"))
    for category, some in ranges.items():
        events = pl.concat([logged.of(one, category).every(category).collect() for one in some])
        assert events.sort("pos").equals(logged.every(category).collect().sort("pos"))


def lives(first: int, count: int) -> pl.DataFrame:
    ids = pl.format("C{}", pl.int_range(first, first + count, dtype=pl.Int64))
    return pl.select(id=ids, created_pos=pl.lit(1), deleted_pos=pl.lit(None, dtype=pl.Int64)).cast(lives_schema(CLIENT))


def test_lives_that_are_kept_for_children_are_counted(tmp_path: Path) -> None:
    with database.connect(tmp_path / "warehouse.duckdb") as con:
        schema.create(con)
        stands = Now(con, Lock())
        stands.keep(CLIENT, lives(0, 3))
        stands.keep(CLIENT, lives(3, 2))
        con.execute("DELETE FROM lives_of_clients WHERE id = 'C1'")
        with pytest.raises(NightdropError, match="the lives of clients: 5 kept for those that hang on them, 4 seen"):
            stands.forget()


def test_lives_that_come_in_whole_row_groups_after_a_part_without_any_are_kept_for_their_children(tmp_path: Path) -> None:
    with database.connect(tmp_path / "warehouse.duckdb", memory_limit="1GB") as con:
        schema.create(con)
        with database.transaction(con):
            stands = Now(con, Lock())
            for first, count in ((0, 0), (0, database.ROW_GROUP), (database.ROW_GROUP, 0), (database.ROW_GROUP, 3)):
                stands.keep(CLIENT, lives(first, count))
            asked = pl.DataFrame({"id": ["C0", f"C{database.ROW_GROUP + 2}", "C-1"]})
            assert sorted(stands.lives(CLIENT, asked)["id"]) == ["C0", f"C{database.ROW_GROUP + 2}"]
            stands.forget()


def logged_records(home: Home) -> int:
    ((count,),) = rows(home, "SELECT sum(records) FROM drops")
    return int(count)


def test_a_run_asks_each_part_of_the_log_once(tmp_path: Path, monkeypatch: Any) -> None:
    home = home_in(tmp_path)
    for day in (16, 17, 18):
        night(home, {f"2026-11-{day}.jsonl": MONDAY.replace(b'"C', b'"D%d' % day)})
    asked: list[str] = []
    ask = eventlog._editions_of
    monkeypatch.setattr(eventlog, "_editions_of", lambda part: asked.append(part.name) or ask(part))
    night(home)
    assert sorted(asked) == sorted(place.name for place in home.log.iterdir())


def test_a_part_of_the_log_in_an_older_form_is_read_again(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    night(home, {"2026-11-16.jsonl": MONDAY})
    (part,) = home.log.iterdir()
    pl.DataFrame(schema=EDITIONS).write_parquet(part / "editions.parquet")
    again = night(home, {"2026-11-17.jsonl": TUESDAY})
    assert again.events
    with database.connect(home.warehouse, read_only=True) as con:
        assert con.execute("SELECT count(*) FROM drops WHERE status = 'applied'").fetchall() == [(2,)]


def test_what_a_killed_run_kept_out_of_memory_goes_with_the_next(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    night(home, {"2026-11-16.jsonl": MONDAY})
    left = home.state / f"{home.working.name}.tmp"
    left.mkdir()
    (left / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"people")
    night(home, {"2026-11-17.jsonl": TUESDAY})
    assert not left.exists()


@pytest.mark.parametrize("stood", [0, 1000])
def test_whole_row_groups_that_come_after_all_was_taken_out_are_there_before_the_commit(tmp_path: Path, stood: int) -> None:
    con = database.connect(tmp_path / "warehouse.duckdb", memory_limit="1GB")
    schema.create(con)
    texts = dict.fromkeys(CLIENT.names, "x")
    days = {"created_on": date(2026, 1, 1), "updated_on": date(2026, 1, 2)}

    def clients(count: int, **more: date) -> pl.DataFrame:
        ids = pl.format("C{}", pl.int_range(count, dtype=pl.Int64))
        values = texts | days | more | {"is_company": False, "dob": None, "info": None}
        return pl.select(client_id=ids).with_columns(
            **{name: pl.lit(value) for name, value in values.items() if name != "client_id"}
        )

    inserting.insert(con, "clients", clients(200_000))
    inserting.insert(con, "past.clients", clients(stood, valid_from=date(2026, 1, 1), valid_to=date(2026, 1, 2)))
    with database.transaction(con):
        rewind(con, date(2026, 1, 2))
        assert con.execute("SELECT count(*) FROM clients").fetchall() == [(stood,)]
        for count in (database.ROW_GROUP, 100):
            inserting.insert(con, "clients", clients(count))
        assert con.execute("SELECT count(*) FROM clients").fetchall() == [(stood + database.ROW_GROUP + 100,)]
