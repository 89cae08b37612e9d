"""`query` and `export`: exact values out of a real warehouse, as a table, CSV, JSON and Parquet."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from homes import home_in, night
from rich.cells import cell_len
from rich.console import Console

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
    assert (code, out) == (0, b'money,day,run,list,raw,no\n1.5000,2026-11-16,\'@x,"[1,2]",\\xFF,\n')
    assert said(capsysbinary, home, "query", f"{SQL} LIMIT 0", "--format", "csv")[1] == b"money,day,run,list,raw,no\n"


def test_json_is_one_array_with_an_object_a_line(capsysbinary, home):
    _, out, _ = said(capsysbinary, home, "query", SQL, "--format", "json")
    assert json.loads(out) == [{"money": "1.5000", "day": "2026-11-16", "run": "@x", "list": [1, 2], "raw": "\\xFF", "no": None}]
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
        (("query", "SELECT 1; SELECT 2"), 2, "these are 2 questions"),
        (("query", "/* nothing */;"), 2, "the question is empty"),
        (("query", "SELECT 1", "--json", "--format", "csv"), 2, "--json and csv cannot both have standard output"),
        (("export", "clients", "--json"), 2, "say where to with --out FILE"),
        (("export", "clients", "--out", "x.jsonl"), 2, "'.jsonl' is no format known here; say --format"),
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


ODD = (
    "SELECT '=x'::ENUM('=x') AS e, INTERVAL (-1) DAY AS i, 170141183460469231731687303715884105727::HUGEINT AS h, -5 AS less, "
    "{'a': 1.50::DECIMAL(9,2), 'b': ['=q']} AS s, 'nan'::DOUBLE AS d, 1.5::DOUBLE AS f, ['inf'::DOUBLE] AS l, DATE 'infinity' AS day, "
    "'10:00:00+02'::TIMETZ AS tz, '' AS empty, NULL AS no"
)


def test_no_type_of_the_warehouse_is_too_odd_for_a_file(capsysbinary, home, tmp_path):
    assert said(capsysbinary, home, "query", ODD, "--format", "csv")[1].splitlines()[1] == (
        b'\'=x,\'-1 day,170141183460469231731687303715884105727,-5,"{""a"":1.5,""b"":[""=q""]}",nan,1.5,[Infinity],'
        b'infinity,10:00:00+02,"",'
    )
    assert json.loads(said(capsysbinary, home, "query", ODD, "--format", "json")[1]) == [
        {
            "e": "=x",
            "i": "-1 day",
            "h": 170141183460469231731687303715884105727,
            "less": -5,
            "s": {"a": 1.5, "b": ["=q"]},
            "d": "nan",
            "f": 1.5,
            "l": ["Infinity"],
            "day": "infinity",
            "tz": "10:00:00+02",
            "empty": "",
            "no": None,
        }
    ]
    assert said(capsysbinary, home, "query", ODD, "--out", str(tmp_path / "odd.parquet"))[0] == 0
    assert pl.read_parquet(tmp_path / "odd.parquet")["i"].to_list() == ["-1 day"]


def test_a_header_is_defused_too_and_may_have_a_name_twice(capsysbinary, home):
    sql = 'SELECT 1 AS "=x", 2 AS a, 3 AS a'
    assert said(capsysbinary, home, "query", sql, "--format", "csv")[1] == b"'=x,a,a\n1,2,3\n"
    code, out, err = said(capsysbinary, home, "query", sql, "--format", "json")
    assert (code, out) == (2, b"")
    assert b"2 columns are called 'a'" in err


def test_every_table_can_be_taken_out_in_every_format(capsysbinary, home, tmp_path):
    _, out, _ = said(capsysbinary, home, "query", "SHOW TABLES", "--format", "csv")
    names = out.decode().split()[1:]
    assert len(names) > 15
    for name in names:
        heights = []
        for kind, look in (("csv", pl.read_csv), ("parquet", pl.read_parquet), ("json", None)):
            file = tmp_path / f"{name}.{kind}"
            assert said(capsysbinary, home, "export", name, "--out", str(file))[0] == 0
            heights.append(look(file).height if look else len(json.loads(file.read_bytes())))
        assert len(set(heights)) == 1, name


def test_what_is_no_file_is_written_to_and_not_replaced(capsysbinary, home, tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    assert said(capsysbinary, home, "query", "SELECT 1 AS n", "--out", str(pipe))[0] == 0
    reader.join()
    assert got == [b"n\n1\n"]
    assert pipe.is_fifo()


def shown(monkeypatch, width: int, home, sql: str) -> list[str]:
    """Return the lines that a terminal of that width gets."""
    monkeypatch.setattr(asking, "terminal_width", lambda: width)
    written = io.StringIO()
    console = Console(file=written, width=width, force_terminal=True, color_system=None)
    for part in asking.query(home, sql, whole=False).text:
        console.print(part)
    return written.getvalue().splitlines()


WIDE = "SELECT c.*, repeat('日本', 60) AS long, chr(27) || '[31m' AS red, 1234.50::DECIMAL(9,2) AS money FROM clients AS c ORDER BY 1"


@pytest.mark.parametrize("width", [20, 80, 200, 400])
def test_an_answer_fits_the_terminal_and_loses_nothing(home, monkeypatch, width):
    lines = shown(monkeypatch, width, home, WIDE)
    assert max(map(cell_len, lines)) <= width
    together = re.sub(r"\s", "", "".join(lines))
    assert together.count("日") == 120
    assert "\x1b" not in together
    for value in ("jo@example.com", "+254712345678", "2026-11-16", "1234.50", "NULL", r"\x1b[31m"):
        assert together.count(value) >= (2 if width in (80, 400) else 0), value


def test_a_table_too_wide_for_the_terminal_is_told_row_by_row(home, monkeypatch):
    assert shown(monkeypatch, 80, home, "SELECT client_id, name FROM clients ORDER BY 1")[0].split() == ["client_id", "name"]
    lines = shown(monkeypatch, 80, home, "SELECT * FROM clients ORDER BY 1")
    assert lines[:2] == ["row 1", "client_id            C1" + " " * (len(lines[1]) - 23)]
    five = "SELECT " + ", ".join(f"TIMESTAMP '2026-11-16 10:00:00' AS t{n}" for n in range(5))
    assert shown(monkeypatch, 80, home, five)[0] == "row 1"  # a time is not cut
    assert shown(monkeypatch, 120, home, five)[0].split() == ["t0", "t1", "t2", "t3", "t4"]


def test_values_are_shown_as_they_are(home, monkeypatch):
    sql = "SELECT 2026 AS year, 0.10::DECIMAL(9,2) AS d, NULL AS no, [DATE '2026-01-01'] AS l, true AS b"
    assert shown(monkeypatch, 80, home, sql)[1].split() == ["2026", "0.10", "NULL", '["2026-01-01"]', "true"]


def test_of_many_rows_the_first_are_shown_with_how_to_get_all(home, monkeypatch):
    lines = shown(monkeypatch, 80, home, "SELECT range AS n FROM range(100000)")
    assert len(lines) == 1002
    assert lines[-1] == "The first 1,000 of 100,000 rows; `--format csv` or `--out FILE.csv` gives all."
    assert len(shown(monkeypatch, 80, home, "SELECT range AS n FROM range(1000)")) == 1001
    assert len(asking.query(home, "SELECT range AS n FROM range(2000)", whole=True).data["rows"]) == 2000


COMPLETED = """
. ~/.bashrc
COMP_WORDS=({words}) COMP_CWORD={place}
_nightdrop_completion nightdrop
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_bash_completes_commands_options_formats_and_tables(tmp_path):
    """As a person has it: installed by the command itself, asked by a bash that has read its .bashrc."""
    program = tmp_path / "nightdrop"
    program.write_text(f"#!{sys.executable}\nfrom flows.cli import main\nmain()\n")
    program.chmod(0o755)
    environment = os.environ | {"HOME": str(tmp_path), "SHELL": "/bin/bash", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment |= {"PYTHONPATH": str(Path(asking.__file__).parents[2])}
    # Which shell it is for is told by the process that asks: two commands, or bash would become the program.
    script = "nightdrop --install-completion && true"
    subprocess.run(["/bin/bash", "-c", script], env=environment, check=True, capture_output=True)

    def offered(*words: str) -> set[str]:
        script = COMPLETED.format(words=" ".join(f"'{word}'" for word in ("nightdrop", *words)), place=len(words))
        done = subprocess.run(["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert offered("re") == {"rerun", "release", "resubmit", "rebuild", "report"}
    assert offered("plan", "r") == {"run", "rerun", "release", "resubmit"}
    assert offered("export", "--as") == {"--as-of"}
    assert offered("export", "client") == {"clients", "client_history"}
    assert offered("query", "--format", "p") == {"parquet"}
