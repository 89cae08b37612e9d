"""The warehouse's shape, and the door to DuckDB through which it is made."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import database, schema
from pipelines.database import ROW_GROUP
from pipelines.problems import NightdropError
from pipelines.tables import SHOWN, TABLES, Column, Table
from validation.entities import ENTITIES

CONTRACT = {
    "loan_changes": "loan_id change_date field old_value new_value change_reason business_date path line",
    "events": "business_date path line category step entity_id client_id verdict decided_at",
    "rejections": "business_date path line category step entity_id code field value message cause_date cause_path cause_line",
    "warnings": "business_date path line category entity_id code field value message",
    "rejected_lines": "business_date path line sha256 byte_offset byte_length raw",
    "corrections": "business_date path line sha256 its_line submitted_at",
    "drops": "business_date path sha256 bytes records applied rejected warned status reason detail picked_at decided_at run_id",
    "runs": "run_id started_at finished_at state drops events applied rejected flipped seconds version rule_set",
    "verdict_changes": "run_id business_date path line was now because_path",
    "clients": "client_id name email phone address country is_company registration_number gender contact_person info"
    " first_name middle_name last_name dob image city state created_on updated_on deleted_on",
    "loans": "loan_id client_id amount currency disbursement_date maturity_date expected_margin interest_rate"
    " installment_count status change_date change_reason info created_on updated_on deleted_on",
    "payments": "payment_id loan_id amount currency status due_date payment_date principal fee installment_number source"
    " bank_ref info created_on updated_on deleted_on",
    "deposits": "deposit_id client_id account_number currency account_name balance status product_type maturity_date info"
    " created_on updated_on deleted_on",
}
CONTRACT |= {
    f"{name[:-1]}_history": f"{CONTRACT[name]} valid_from valid_to" for name in ("clients", "loans", "payments", "deposits")
}


@pytest.fixture
def con(tmp_path):
    con = database.connect(tmp_path / "warehouse.duckdb")
    schema.create(con)
    yield con
    con.close()


def rows(con, query, parameters=None):
    return con.execute(query, parameters).fetchall()


def test_the_tables_are_those_of_the_contract_with_their_columns_in_order(con):
    found = rows(
        con, "SELECT table_name, string_agg(column_name, ' ' ORDER BY column_index) FROM duckdb_columns() "
        "WHERE NOT internal AND schema_name = 'main' AND table_name <> 'active_clients' GROUP BY ALL"
    )  # fmt: skip
    assert dict(found) == CONTRACT
    assert set(SHOWN) == {*CONTRACT, "active_clients"}


def test_every_table_view_macro_and_column_has_a_comment(con):
    silent = rows(
        con,
        """SELECT table_name, NULL FROM duckdb_tables() WHERE comment IS NULL
        UNION ALL SELECT view_name, NULL FROM duckdb_views() WHERE NOT internal AND comment IS NULL
        UNION ALL SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL
        UNION ALL SELECT function_name, NULL FROM duckdb_functions() WHERE NOT internal AND comment IS NULL""",
    )
    assert silent == []


def test_money_is_exact_and_no_table_has_a_key_or_an_index(con):
    types = dict(
        rows(con, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name IN ('loans', 'payments', 'clients')")
    )
    assert types["amount"] == types["principal"] == "DECIMAL(18,4)"
    assert (types["interest_rate"], types["info"], types["dob"]) == ("DECIMAL(18,8)", "JSON", "DATE")
    assert rows(con, "SELECT constraint_type FROM duckdb_constraints() WHERE constraint_type <> 'NOT NULL'") == []
    assert rows(con, "SELECT index_name FROM duckdb_indexes()") == []


def add_client_versions(con):
    client = {"client_id": "C1", "name": "Ann", "address": "1, A, B", "country": "NL", "is_company": False}
    for valid_from, valid_to, name, deleted_on in (
        (date(2026, 1, 1), date(2026, 1, 5), "Ann", None),
        (date(2026, 1, 5), date(2026, 1, 9), "Anne", None),
        (date(2026, 1, 9), None, "Anne", date(2026, 1, 9)),
    ):
        record = client | {"name": name, "info": '{"a": 1}', "created_on": date(2026, 1, 1), "updated_on": valid_from}
        record |= {"deleted_on": deleted_on}
        ended = {"valid_from": valid_from, "valid_to": valid_to} if valid_to else {}
        con.register("version", pl.DataFrame([record | ended]))
        con.execute(f"INSERT INTO {'past.clients' if ended else 'clients'} BY NAME FROM version")
        con.unregister("version")


@pytest.mark.parametrize(
    ("day", "stood"),
    [
        ("2025-12-31", []),
        ("2026-01-01", [("Ann", None)]),
        ("2026-01-04", [("Ann", None)]),
        ("2026-01-05", [("Anne", None)]),
        ("2026-01-08", [("Anne", None)]),
        ("2026-01-09", [("Anne", date(2026, 1, 9))]),
        ("2030-01-01", [("Anne", date(2026, 1, 9))]),
    ],
)
def test_clients_as_of_gives_the_table_as_it_stood_at_the_end_of_a_date(con, day, stood):
    add_client_versions(con)
    assert rows(con, "SELECT name, deleted_on FROM clients_as_of(?)", [date.fromisoformat(day)]) == stood
    assert rows(con, f"SELECT name, deleted_on FROM clients_as_of('{day}')") == stood


def test_as_of_today_is_the_table_itself(con):
    add_client_versions(con)
    assert rows(con, "FROM clients_as_of(DATE '2030-01-01')") == rows(con, "FROM clients")


def test_every_entity_has_its_macro_with_exactly_its_columns(con):
    for entity in ENTITIES.values():
        assert con.sql(f"FROM {entity.table}_as_of('2026-01-01')").columns == list(TABLES[entity.table].names)


def test_active_clients_leaves_the_deleted_out(con):
    add_client_versions(con)
    assert rows(con, "FROM active_clients") == []
    con.execute("UPDATE clients SET deleted_on = NULL")
    assert rows(con, "FROM active_clients") == rows(con, "FROM clients")


def test_a_database_tells_whether_its_schema_is_current(tmp_path, con, monkeypatch):
    empty = database.connect(tmp_path / "empty.duckdb")
    assert schema.is_empty(empty)
    assert not schema.is_current(empty)
    empty.close()
    assert schema.is_current(con)
    assert not schema.is_empty(con)
    later = {**TABLES, "more": Table("more", "More", (Column("id", "VARCHAR", "Id"),))}
    monkeypatch.setattr(schema, "TABLES", later)
    assert not schema.is_current(con)


def test_a_creation_that_fails_leaves_nothing(tmp_path):
    con = database.connect(tmp_path / "warehouse.duckdb")
    con.execute("CREATE VIEW active_clients AS SELECT 1 AS one")
    with pytest.raises(duckdb.CatalogException):
        schema.create(con)
    assert rows(con, "SELECT table_name FROM duckdb_tables()") == []


# The door


def test_frames_are_handed_over_as_they_are_however_many_pieces_they_are_of(con):
    texts = ["", "short", "as long as needs a place of its own", "ünïcödé, too", None]
    piece = pl.DataFrame(
        {
            "text": texts,
            "raw": [b"", b"\xff\x00", b"as long as needs a place of its own", None, b"x"],
            "day": [date(2026, 11, 16), None, date(1, 1, 1), date(9999, 12, 31), None],
            "amount": pl.Series(["1.5", None, "-0.0001", "0", "99999999999999.9999"]).cast(pl.Decimal(18, 4)),
        }
    )
    frame = pl.concat([piece, piece.slice(1, 3), pl.concat([piece] * (ROW_GROUP // 4))])
    assert frame.n_chunks() > 1
    assert len(frame) > ROW_GROUP
    numbered = frame.with_row_index("place")
    assert_frame_equal(database.query(con, "SELECT * EXCLUDE (place) FROM given ORDER BY place", given=numbered), frame)


def test_frames_come_in_by_registering_them_and_json_is_read_offline(con):
    con.register("f", pl.DataFrame({"raw": [b"\xff\x00"], "j": ['{"a": [1]}']}).to_arrow())
    assert rows(con, "SELECT raw, j::JSON->'a'->>0 FROM f") == [(b"\xff\x00", "1")]


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "FROM read_text('/etc/hostname')",
        "ATTACH '{folder}/other.duckdb'",
        "SET enable_external_access = true",
        "SET threads = 1",
        "INSTALL httpfs",
    ],
)
def test_sql_reaches_no_file_and_changes_no_setting(con, tmp_path, query):
    with pytest.raises(duckdb.Error):
        con.execute(query.format(folder=tmp_path))


def test_sql_reaches_the_folders_it_is_given_and_no_other(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in-too").mkdir()
    con = database.connect(tmp_path / "warehouse.duckdb", folders=[tmp_path / "in"])
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "in" / "a.parquet")
    assert rows(con, f"FROM '{tmp_path}/in/a.parquet'") == [(1,)]
    with pytest.raises(duckdb.PermissionException):
        con.execute(f"COPY (SELECT 1) TO '{tmp_path}/in-too/b.parquet'")


def test_clocks_are_utc_wherever_the_machine_stands(tmp_path):
    code = (
        "from pathlib import Path; from pipelines import database; "
        f"con = database.connect(Path({str(tmp_path / 'w.duckdb')!r})); "
        "print(con.execute(\"SELECT TIMESTAMPTZ '2026-07-01 12:00:00+02'::TIMESTAMP\").fetchall()[0][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"TZ": "Asia/Tokyo"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert datetime.fromisoformat(done.stdout.strip()) == datetime(2026, 7, 1, 10, 0)


def test_new_files_can_be_read_by_a_duckdb_of_1_5(con):
    [(tags,)] = rows(con, "SELECT tags FROM duckdb_databases() WHERE database_name = current_database()")
    assert tags["storage_version"].startswith("v1.5.0")


def test_a_missing_file_is_named_and_not_made_when_reading(tmp_path):
    missing = tmp_path / "warehouse.duckdb"
    with pytest.raises(NightdropError, match=r"warehouse\.duckdb: there is no database file here.*nightdrop run"):
        database.connect(missing, read_only=True)
    assert not missing.exists()


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, con, damage, read_only):
    good = (tmp_path / "warehouse.duckdb").read_bytes()
    content = {
        "empty": b"",
        "text": b"hello" * 1000,
        "cut": good[: len(good) // 2],
        "flipped": good[:4200] + bytes(40) + good[4240:],
    }[damage]
    damaged = tmp_path / "damaged.duckdb"
    damaged.write_bytes(content)
    with pytest.raises(NightdropError, match=r"damaged\.duckdb: DuckDB cannot open the database .*nightdrop rebuild"):
        database.connect(damaged, read_only=read_only)


def test_a_file_that_another_process_writes_is_named_with_that_process(tmp_path, con):
    code = (
        "from pathlib import Path; from pipelines import database\n"
        f"try: database.connect(Path({str(tmp_path / 'warehouse.duckdb')!r}))\n"
        "except database.NightdropError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert "another process has the database open" in done.stdout
    assert "PID" in done.stdout


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(NightdropError, match="its folder does not exist"):
        database.connect(tmp_path / "nowhere" / "warehouse.duckdb")
    with pytest.raises(NightdropError, match="wanted a database file, found something else"):
        database.connect(tmp_path)


def test_a_transaction_happens_whole_or_not_at_all(con):
    with pytest.raises(KeyboardInterrupt), database.transaction(con):
        con.execute("INSERT INTO runs (run_id, started_at, state) VALUES ('r1', TIMESTAMP '2026-01-01', 'done')")
        raise KeyboardInterrupt
    assert rows(con, "FROM runs") == []
    with database.transaction(con):
        con.execute("INSERT INTO runs (run_id, started_at, state) VALUES ('r1', TIMESTAMP '2026-01-01', 'done')")
    assert rows(con, "SELECT run_id FROM runs") == [("r1",)]


def test_sealing_leaves_one_file(tmp_path, con):
    con.execute("INSERT INTO runs (run_id, started_at, state) VALUES ('r1', TIMESTAMP '2026-01-01', 'done')")
    assert (tmp_path / "warehouse.duckdb.wal").stat().st_size > 0
    database.seal(con)
    assert [path.name for path in tmp_path.iterdir()] == ["warehouse.duckdb"]


def test_what_is_committed_to_the_working_warehouse_stands_in_its_file_and_not_in_a_log(tmp_path):
    place = tmp_path / "working.duckdb"
    with database.connect(place, memory_limit="100MB") as con:
        with database.transaction(con):
            con.execute("CREATE TABLE numbers AS SELECT range AS number, md5(range::VARCHAR) AS text FROM range(300000)")
        assert not place.with_name("working.duckdb.wal").exists()
        size = place.stat().st_size
        database.seal(con)
    assert place.stat().st_size == size


def test_a_commit_that_the_disk_refuses_takes_all_back_and_says_so(tmp_path, con):
    database.seal(con)
    con = database.connect(tmp_path / "warehouse.duckdb")
    (tmp_path / "warehouse.duckdb.wal").symlink_to(tmp_path / "nowhere" / "log")
    with pytest.raises(NightdropError, match=r"warehouse\.duckdb: the changes could not be committed"), database.transaction(con):
        con.execute("INSERT INTO runs (run_id, started_at, state) VALUES ('r1', TIMESTAMP '2026-01-01', 'done')")
    assert rows(con, "FROM runs") == []


def test_texts_that_differ_from_row_to_row_are_packed_by_zstandard_and_others_as_duckdb_likes(con):
    many = pl.DataFrame({"id": [f"C-{number:08}" for number in range(20_000)]})
    con.register("many", many)
    con.execute(
        "INSERT INTO rejections BY NAME SELECT DATE '2026-01-01' AS business_date, 'a.jsonl' AS path, 1 AS line, 'client' AS category, "
        "id AS entity_id, 'c' AS code, 'no ' || id AS message FROM many"
    )
    con.execute("CHECKPOINT")
    found = rows(
        con, "SELECT DISTINCT column_name, compression FROM pragma_storage_info('rejections') WHERE segment_type = 'VARCHAR'"
    )
    packed = {name for name, compression in found if compression == "ZSTD"}
    assert packed == {column.name for column in TABLES["rejections"].columns if column.distinct} == {"entity_id", "message"}
