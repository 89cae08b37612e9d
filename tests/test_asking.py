"""`query` and `export`: exact values out of a real warehouse, as a table, CSV, JSON and Parquet."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import polars as pl
import pytest
from homes import home_in, night

from flows.cli import call
from flows.commands import asking

LINE = (
    '{"category": "client", "data": {"step": "create", "client_id": "C1", "name": "=1+1", "email": "jo@example.com", '
    '"phone": "+254712345678", "address": "1 Main, Nairobi, KE", "country": "KE", "is_company": false, '
    '"registration_number": "ID-1", "gender": "male"}}\n'
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = home_in(tmp_path_factory.mktemp("home"))
    night(home, {"2026-11-16/c.jsonl": LINE.encode(), "2026-11-17/c.jsonl": LINE.replace('"C1"', '"C2"').encode()})
    return home


def said(capsysbinary, home, *arguments: str) -> tuple[int, bytes, bytes]:
    code = call([*arguments, "--home", str(home.root)])
    return code, *capsysbinary.readouterr()


SQL = "SELECT 1.50::DECIMAL(18,4) AS money, DATE '2026-11-16' AS day, '@x' AS run, [1, 2] AS list, '\\xFF'::BLOB AS raw, NULL::INT AS no"


def test_csv_has_exact_values_and_nothing_that_a_spreadsheet_would_run(capsysbinary, home):
    code, out, _ = said(capsysbinary, home, "query", SQL, "--format", "csv")
    assert (code, out) == (0, b'money,day,run,list,raw,no\n1.5000,2026-11-16,\'@x,"[1, 2]",\\xff,\n')
    assert said(capsysbinary, home, "query", f"{SQL} LIMIT 0", "--format", "csv")[1] == b"money,day,run,list,raw,no\n"


def test_json_is_one_array_with_an_object_a_line(capsysbinary, home):
    _, out, _ = said(capsysbinary, home, "query", SQL, "--format", "json")
    assert json.loads(out) == [{"money": "1.5000", "day": "2026-11-16", "run": "@x", "list": [1, 2], "raw": "\\xff", "no": None}]
    _, out, _ = said(capsysbinary, home, "query", "SELECT range AS n FROM range(3)", "--format", "json")
    assert out == b'[\n{"n": 0},\n{"n": 1},\n{"n": 2}\n]\n'
    assert json.loads(said(capsysbinary, home, "query", "SELECT 1 LIMIT 0", "--format", "json")[1]) == []


def test_parquet_keeps_the_types(capsysbinary, home, tmp_path):
    file = tmp_path / "c.parquet"
    code, out, _ = said(capsysbinary, home, "export", "clients", "--out", str(file))
    assert (code, out) == (0, f"2 rows in {file}\n".encode())
    found = pl.read_parquet(file)
    assert (found.schema["created_on"], found["name"].to_list()) == (pl.Date(), ["=1+1", "=1+1"])
    assert file.stat().st_mode & 0o777 == 0o640
    _, out, _ = said(capsysbinary, home, "query", "SELECT 1 AS n", "--format", "parquet")
    assert out[:4] == b"PAR1"


def test_export_takes_a_table_as_it_stood(capsysbinary, home, tmp_path):
    _, out, _ = said(capsysbinary, home, "export", "clients", "--as-of", "2026-11-16")
    assert len(out.splitlines()) == 2
    assert b"'=1+1" in out
    _, out, _ = said(capsysbinary, home, "export", "rejections", "--format", "json")
    assert json.loads(out) == []
    _, out, _ = said(capsysbinary, home, "export", "clients", "--out", str(tmp_path / "c.csv"), "--json")
    assert json.loads(out) == {"file": str(tmp_path / "c.csv"), "format": "csv", "rows": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("export", "client"), 2, "client: there is no such table; there are active_clients, client_history, clients"),
        (("export", "clients; DROP TABLE x"), 2, "no such table"),
        (("export", "drops", "--as-of", "2026-11-16"), 2, "--as-of is for clients, deposits, loans, payments"),
        (("export", "clients", "--format", "xml"), 2, "--format must be one of table, csv, json, parquet (got 'xml')"),
        (("query", "SELECT 1", "--format", "table", "--out", "x"), 2, "a table is to look at"),
        (("query", "SELEC", "--format", "csv"), 2, "does not understand"),
        (("query", "SELECT 'x'::INT", "--format", "csv"), 1, "could not answer"),
        (("export", "clients", "--out", "/no/such/folder/x.csv"), 1, "/no/such/folder/x.csv: it could not be written"),
    ],
)
def test_what_cannot_be_done_is_said(capsysbinary, home, arguments, code, says):
    got, _, err = said(capsysbinary, home, *arguments)
    assert got == code
    assert says in err.decode()
    assert b"Traceback" not in err


def test_a_file_that_could_not_be_written_whole_leaves_the_one_before(capsysbinary, home, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("before")
    sql = "SELECT CASE WHEN range > 200000 THEN error('late') ELSE 'x' END AS x FROM range(300000)"
    assert said(capsysbinary, home, "query", sql, "--out", str(file))[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    assert file.read_text() == "before"


def test_a_table_too_wide_for_the_terminal_is_told_row_by_row(home, monkeypatch):
    answer = asking.query(home, "SELECT * FROM clients ORDER BY 1")
    assert len(answer.text) == 1
    monkeypatch.setattr(asking, "terminal_width", lambda: 100)
    answer = asking.query(home, "SELECT * FROM clients ORDER BY 1")
    words = [str(part) for part in answer.text]
    assert words[0] == "row 1"
    assert "  client_id            C1" in words
    assert len(asking.query(home, "SELECT client_id, name FROM clients").text) == 1


def test_the_shell_completes_commands_and_options():
    environment = os.environ | {"_NIGHTDROP_COMPLETE": "complete_bash", "COMP_WORDS": "nightdrop re", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['nightdrop']; from flows.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert {"rerun", "release", "resubmit", "rebuild"} <= set(done.stdout.split())
