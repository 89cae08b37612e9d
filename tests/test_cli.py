from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.cli import call
from flows.lock import hold
from pipelines import schema
from pipelines.database import connect, seal
from pipelines.home import Home
from pipelines.problems import NightdropError
from pipelines.summary import DropResult, Night

NIGHTDROP = [sys.executable, "-m", "flows.cli"]
MONDAY = date(2026, 11, 16)
APPLIED = DropResult("2026-11-16/clients.jsonl", MONDAY, hashlib.sha256(b"{}").hexdigest(), 1000, 3, 1, 2, 1, "applied")
HELD = DropResult("2026-11-16/half.csv", MONDAY, "b" * 64, 10, None, None, None, None, "held", "truncated", "a quote is open")


def a_night(*drops: DropResult, changed: bool = True, reasons: dict[str, int] | None = None) -> Night:
    now = datetime(2026, 11, 17, 2, 0, tzinfo=UTC)
    events = 3 if changed else 0
    return Night(
        "r1",
        now,
        now,
        drops,
        reasons or {},
        events,
        1,
        2,
        0,
        1.25,
        {"discover": 0.25, "settle": 1.0},
        changed,
        (MONDAY,) if changed else (),
    )


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.delenv("NIGHTDROP_HOME", raising=False)
    made = Home(tmp_path / "home")
    made.inbox.mkdir(parents=True)
    return made


@pytest.fixture
def work(monkeypatch):
    """Put a function in the place of the night's work."""

    def put(function: Any) -> None:
        monkeypatch.setitem(sys.modules, "pipelines.night", SimpleNamespace(run_night=function))

    return put


@pytest.fixture
def published(home: Home) -> Home:
    """A published warehouse with one applied and one held drop."""
    con = connect(home.warehouse)
    schema.create(con)
    con.execute(
        "INSERT INTO drops VALUES ('2026-11-16', ?, ?, 2, 3, 1, 2, 1, 'applied', NULL, NULL, now(), now(), 'r1'), "
        "('2026-11-16', ?, ?, 10, NULL, NULL, NULL, NULL, 'held', 'truncated', 'a quote is open', now(), now(), 'r1')",
        [APPLIED.path, APPLIED.sha256, HELD.path, HELD.sha256],
    )
    con.execute("INSERT INTO runs VALUES ('r1', now(), now(), 'done', 2, 3, 1, 2, 0, 1.5, '0.1.0', 'f')")
    seal(con)
    return home


def said(capsys, *arguments: object) -> tuple[int, str, str]:
    code = call([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def answered(capsys, *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = said(capsys, *arguments, "--json")
    assert out.count("\n") == 1
    return code, json.loads(out)


def test_a_run_ends_with_a_summary_a_person_reads_at_a_glance(capsys, home, work):
    work(lambda *_, **__: a_night(APPLIED, HELD, reasons={"invalid_email": 2, "invalid_phone": 1}))
    code, out, err = said(capsys, "run", "--home", home.root)
    assert code == 3
    assert err == ""
    assert out.startswith("Held: 1 drop is held: nothing of it is in the warehouse until somebody looks at it.")
    order = ("Held: ", "1 held (", "Why events were rejected", "\nDrops\n", "Warehouse" if home.warehouse.exists() else "1.2 s: ")
    assert [out.index(words) for words in order] == sorted(out.index(words) for words in order)
    for words in (
        "2026-11-16  2026-11-16/clients.jsonl        3        1         2       1",
        "3 events: 1 applied, 2 rejected.",
        "invalid_email      2",
        "1 held",
        "2026-11-16/half.csv: truncated, a quote is open\n    it ends in the middle: have it sent again",
        "`nightdrop withdraw 2026-11-16/half.csv` lets it go",
        "1.2 s: discover 0.2 s · settle 1.0 s",
    ):
        assert words in out
    assert "\x1b" not in out


def test_a_run_without_anything_held_ends_0(capsys, home, work):
    work(lambda *_, **__: a_night(APPLIED))
    assert said(capsys, "--home", home.root, "run")[0] == 0


def test_a_run_with_nothing_new_says_so(capsys, home, work):
    work(lambda *_, **__: a_night(changed=False))
    (home.inbox / "2026-11-16.csv").touch()
    code, out, _ = said(capsys, "run", "--home", home.root)
    assert code == 0
    assert "Nothing new: the warehouse is as it was." in out


def test_a_run_on_an_empty_inbox_says_so_and_ends_0(capsys, home, work):
    work(lambda *_, **__: a_night(changed=False))
    code, out, _ = said(capsys, "run", "--home", home.root)
    assert code == 0
    assert f"No drops: the inbox {home.inbox} is empty." in out


def test_json_is_one_object_on_standard_output_before_or_after_the_command(capsys, home, work):
    work(lambda *_, **__: a_night(APPLIED, HELD, reasons={"invalid_email": 2}))
    code, after = answered(capsys, "run", "--home", home.root)
    assert code == 3
    assert json.loads(said(capsys, "--json", "--home", home.root, "run")[1]) == after
    assert after["drops"][0] | {"sha256": ""} == {
        "path": APPLIED.path,
        "business_date": "2026-11-16",
        "sha256": "",
        "bytes": 1000,
        "records": 3,
        "applied": 1,
        "rejected": 2,
        "warned": 1,
        "status": "applied",
        "reason": None,
        "detail": None,
    }
    assert after["steps"] == {"discover": 0.25, "settle": 1.0}
    assert (after["held"], after["changed"], after["dates"]) == (1, True, ["2026-11-16"])
    assert after["warehouse"] == str(home.warehouse)


def test_the_home_comes_from_the_variable_and_what_stands_after_the_command_counts(capsys, home, work, monkeypatch, tmp_path):
    seen = []
    work(lambda place, *_, **__: seen.append(place) or a_night())
    monkeypatch.setenv("NIGHTDROP_HOME", str(home.root))
    assert said(capsys, "run")[0] == 0
    monkeypatch.setenv("NIGHTDROP_HOME", str(tmp_path))
    assert said(capsys, "--home", tmp_path / "no", "run", "--home", home.root)[0] == 0
    assert seen == [home, home]


@pytest.mark.parametrize(("text", "day"), [("2026-11-16", MONDAY), ("20261116", MONDAY)])
def test_a_run_takes_a_business_date(capsys, home, work, text, day):
    seen = []
    work(lambda *_, only_date, **__: seen.append(only_date) or a_night())
    assert said(capsys, "run", "--date", text, "--home", home.root)[0] == 0
    assert seen == [day]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--date", "2026-02-30"],
        ["run", "--date", "yesterday"],
        ["run", "--date", "2026-W47-1"],
        ["run", "--date", "20261116 "],
        ["nothing"],
        ["run", "--nothing"],
        ["query"],
        ["sample", "--events", "many"],
        [],
    ],
)
def test_what_cannot_be_meant_ends_2_in_words_and_in_json(capsys, home, arguments):
    code, out, err = said(capsys, "--home", home.root, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("nightdrop: ")
    assert "Traceback" not in err
    code, out, err = said(capsys, "--json", "--home", home.root, *arguments)
    assert code == 2
    assert json.loads(out)["error"] in err


def test_a_wrong_setting_ends_2(capsys, home, work):
    work(lambda *_, **__: pytest.fail("it must not begin"))
    (home.root / "nightdrop.toml").write_text("chunks = 1")
    code, _, err = said(capsys, "run", "--home", home.root)
    assert code == 2
    assert "chunks: no such setting" in err


def test_a_failure_is_one_sentence_and_ends_1(capsys, home, work):
    def fail(*_: Any, **__: Any) -> Night:
        raise NightdropError("drops.csv: line 3 is wrong")

    work(fail)
    assert said(capsys, "run", "--home", home.root) == (1, "", "nightdrop: drops.csv: line 3 is wrong\n")
    assert answered(capsys, "run", "--home", home.root) == (1, {"error": "drops.csv: line 3 is wrong", "exit": 1})


def test_an_unexpected_failure_is_one_line_and_its_traceback_is_kept(capsys, home, work):
    def fail(*_: Any, **__: Any) -> Night:
        raise ZeroDivisionError("by\nzero")

    work(fail)
    code, out, err = said(capsys, "run", "--home", home.root)
    log = home.state / "failures.log"
    assert (code, out) == (1, "")
    assert "ZeroDivisionError." in err
    assert "by" not in err, "a library's message may quote a name"
    assert str(log) in err
    assert err.count("\n") == 1
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o137 == 0


def test_control_c_ends_130_without_a_traceback(capsys, home, work):
    def interrupt(*_: Any, **__: Any) -> Night:
        raise KeyboardInterrupt

    work(interrupt)
    code, _, err = said(capsys, "run", "--home", home.root)
    assert code == 130
    assert "interrupted" in err
    assert "Traceback" not in err


def test_a_home_that_another_run_has_ends_4(capsys, home, work):
    work(lambda *_, **__: pytest.fail("it must not begin"))
    with hold(home, command="nightdrop run"):
        code, _, err = said(capsys, "run", "--home", home.root)
    assert code == 4
    assert f"process {os.getpid()}" in err


def test_a_missing_inbox_or_home_ends_1_and_nothing_is_made(capsys, tmp_path, work):
    work(lambda *_, **__: pytest.fail("it must not begin"))
    code, _, err = said(capsys, "run", "--home", tmp_path / "no")
    assert code == 1
    assert "nightdrop init" in err
    code, _, err = said(capsys, "run", "--home", tmp_path)
    assert code == 1
    assert "no inbox folder" in err
    assert list(tmp_path.iterdir()) == []


def test_init_makes_a_home_and_leaves_one_alone(capsys, tmp_path):
    code, made = answered(capsys, "init", "--home", tmp_path / "new")
    assert code == 0
    assert Path(made["inbox"]).is_dir()
    settings = tmp_path / "new" / "nightdrop.toml"
    settings.write_text("# mine")
    code, again = answered(capsys, "init", "--home", tmp_path / "new")
    assert (code, again["made"]) == (0, [])
    assert settings.read_text() == "# mine"


def test_the_settings_file_of_a_new_home_means_the_defaults(capsys, tmp_path):
    from flows.settings import load_settings
    from pipelines.home import Settings

    assert said(capsys, "init", "--home", tmp_path)[0] == 0
    assert load_settings(tmp_path) == Settings()
    text = (tmp_path / "nightdrop.toml").read_text()
    (tmp_path / "nightdrop.toml").write_text(re.sub(r"(?m)^# (\[|[a-z_]+ = )", r"\1", text))
    shown = load_settings(tmp_path)
    assert shown.chunk_bytes == Settings().chunk_bytes
    assert set(shown.registration_patterns) == {"individual", "company"}
    assert [source.name for source in shown.sources.declared] == ["acme"]
    assert [one.source for one in shown.calendar] == ["acme"]
    assert shown.hooks.url


def test_sample_makes_drops(capsys, tmp_path):
    code, made = answered(capsys, "sample", "--events", 50, "--seed", 7, "--out", tmp_path / "inbox")
    assert code == 0
    assert made["drops"]
    assert all(Path(drop["path"]).stat().st_size == drop["bytes"] for drop in made["drops"])


def test_the_code_lists_are_printed(capsys):
    _, lists = answered(capsys, "rules", "--countries", "--currencies")
    assert {"code": "GB", "name": "United Kingdom"} in lists["countries"]
    assert {"code": "EUR", "name": "Euro"} in lists["currencies"]
    code, out, _ = said(capsys, "rules", "--countries")
    assert code == 0
    assert "AF    Afghanistan" in out
    assert "EUR" not in out


def test_status_of_a_new_home_says_that_there_is_nothing_yet(capsys, home):
    (home.inbox / "2026-11-16.csv").touch()
    code, out, _ = said(capsys, "status", "--home", home.root)
    assert code == 0
    assert "Last run   none yet" in out
    assert "1 for the next run: 2026-11-16.csv" in out


def test_status_tells_what_is_in_held_and_pending(capsys, published):
    folder = published.inbox / "2026-11-16"
    folder.mkdir()
    (folder / "clients.jsonl").write_bytes(b"{}")
    (folder / "half.csv").write_bytes(b"0123456789+")
    (folder / "new.csv").touch()
    code, status = answered(capsys, "status", "--home", published.root)
    assert code == 0
    assert status["drops"] == {"applied": 1, "held": 1}
    assert status["pending"] == ["2026-11-16/half.csv", "2026-11-16/new.csv"]
    assert [(drop["path"], drop["reason"]) for drop in status["held"]] == [(HELD.path, "truncated")]
    assert "sent again" in status["held"][0]["what_next"]
    assert status["last_run"]["run_id"] == "r1"
    assert status["disk"]["warehouse"] == published.warehouse.stat().st_size
    code, out, _ = said(capsys, "status", "--home", published.root)
    assert "1 applied, 1 held" in out
    assert "have it sent again" in out


def test_a_file_touched_since_is_pending_only_when_its_bytes_changed(capsys, published):
    file = published.inbox / "2026-11-16" / "clients.jsonl"
    file.parent.mkdir()
    con = connect(published.warehouse)
    con.execute("UPDATE drops SET picked_at = '2026-01-01'")
    con.execute("UPDATE drops SET sha256 = sha256('{}') WHERE path LIKE '%clients%'")
    seal(con)
    file.write_bytes(b"{}")
    assert answered(capsys, "status", "--home", published.root)[1]["pending"] == []
    file.write_bytes(b"[]")
    assert answered(capsys, "status", "--home", published.root)[1]["pending"] == ["2026-11-16/clients.jsonl"]


def test_status_works_while_a_run_has_the_home_and_names_it(capsys, published):
    with hold(published, command="nightdrop run"):
        _, status = answered(capsys, "status", "--home", published.root)
    assert "nightdrop run" in status["running"]


def test_drops_and_runs_are_listed(capsys, published):
    _, drops = answered(capsys, "drops", "--home", published.root)
    assert [drop["status"] for drop in drops["drops"]] == ["applied", "held"]
    _, runs = answered(capsys, "runs", "--home", published.root)
    assert [run["state"] for run in runs["runs"]] == ["done"]
    assert "a quote is open" in said(capsys, "drops", "--home", published.root)[1]
    assert "r1" in said(capsys, "runs", "--home", published.root)[1]


def test_query_answers_with_exact_values(capsys, published):
    sql = "SELECT 1.50::DECIMAL(18,4) AS money, DATE '2026-11-16' AS day, 'a\xff'::VARCHAR AS text, '\\xFFz'::BLOB AS raw, NULL AS nothing, 'nan'::DOUBLE AS odd"
    _, found = answered(capsys, "query", sql, "--home", published.root)
    assert found["columns"] == ["money", "day", "text", "raw", "nothing", "odd"]
    assert found["rows"] == [["1.5000", "2026-11-16", "a\xff", "\\xffz", None, "nan"]]
    code, out, _ = said(capsys, "query", "SELECT path FROM drops ORDER BY 1", "--home", published.root)
    assert code == 0
    assert out.splitlines() == ["path", APPLIED.path, HELD.path]


def test_query_shows_no_control_characters(capsys, published):
    _, out, _ = said(capsys, "query", "SELECT chr(27) || '[31m' || chr(10) AS x", "--home", published.root)
    assert out == "x\n\\x1b[31m\\n\n"


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", 2),
        ("SELECT nothing FROM drops", 2),
        ("SELECT * FROM nothing", 2),
        ("DELETE FROM drops", 1),
        ("SELECT * FROM read_csv('/etc/passwd')", 1),
        ("COPY drops TO '/tmp/drops.csv'", 1),
        ("SET enable_external_access = true", 1),
        ("SELECT 'x'::INTEGER", 1),
    ],
)
def test_query_reads_the_warehouse_and_nothing_else(capsys, published, sql, code):
    got, out, err = said(capsys, "query", sql, "--home", published.root)
    assert (got, out) == (code, "")
    assert "Traceback" not in err
    assert err.startswith("nightdrop: DuckDB")


def test_query_without_a_warehouse_says_what_makes_one(capsys, home):
    code, _, err = said(capsys, "query", "SELECT 1", "--home", home.root)
    assert code == 1
    assert "nightdrop run" in err


def test_the_help_starts_at_once():
    began = time.perf_counter()
    done = subprocess.run([*NIGHTDROP, "--help"], capture_output=True, text=True, check=True)
    assert time.perf_counter() - began < 2  # 0.1 s on an idle machine
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, flows.cli; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert {"polars", "duckdb", "prefect", "rich", "pydantic"}.isdisjoint(loaded.stdout.split())
    for command in ("run", "status", "drops", "runs", "rules", "init", "sample", "query"):
        assert f"\n  {command} " in done.stdout


def test_drops_are_copied_before_the_heavy_libraries_are_there(home, tmp_path):
    """A run reads its settings, takes the lock and begins to copy; only then it loads what it needs to work."""
    (home.inbox / "2026-11-16.jsonl").write_bytes(b"{}\n")
    watched = """
import sys
from pipelines.archive import Archive
ahead = Archive.copying_ahead
def told(self, *arguments):
    print(*sys.modules)
    return ahead(self, *arguments)
Archive.copying_ahead = told
from flows.cli import call
call(sys.argv[1:])
"""
    done = subprocess.run(
        [sys.executable, "-c", watched, "run", "--home", str(home.root)], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split("\n")[0].split()
    assert "flows.lock" in loaded
    assert {"polars", "pandera", "duckdb", "pyarrow", "numpy"}.isdisjoint(loaded)


def test_a_reader_that_goes_away_is_no_failure():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as gone:
        done = subprocess.run([*NIGHTDROP, "rules", "--currencies"], stdout=gone, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["what?", "back\\slash"])
def test_a_home_that_duckdb_cannot_work_with_is_refused_before_anything_is_made(tmp_path, capsys, name):
    assert call(["init", "--home", str(tmp_path / name)]) == 2
    assert "a home cannot lie here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
