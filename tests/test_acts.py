"""Withdraw, rerun, release, plan, verify, rebuild: what they do, and that they leave nothing else."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from checked import create, line
from homes import home_in, night, rows, tables

from pipelines import acts
from pipelines.home import Home, Settings
from pipelines.night import run_night
from pipelines.problems import NightdropError, UsageError

CLIENT = line("client", create("client"))
LOAN = line("loan", create("loan"))
PAYMENT = line("payment", create("payment"))
DROPS = {"2026-11-16.jsonl": CLIENT, "2026-11-17/loans.jsonl": LOAN, "2026-11-18.jsonl": PAYMENT}
SETTINGS = Settings()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "home")


def verdicts(home: Home) -> dict[str, str]:
    return dict(rows(home, "SELECT path, verdict FROM events"))


def test_withdrawing_a_drop_takes_it_out_and_rerun_brings_everything_back(home: Home) -> None:
    night(home, DROPS)
    before = tables(home)
    out = acts.withdraw(home, SETTINGS, "2026-11-16.jsonl")
    assert verdicts(home) == {"2026-11-17/loans.jsonl": "rejected", "2026-11-18.jsonl": "rejected"}
    assert (out.drops, out.night.flipped) == (("2026-11-16.jsonl",), 2)
    night(home)
    assert tables(home)["clients"] == []
    acts.rerun(home, SETTINGS, "2026-11-16.jsonl")
    assert tables(home) == before


def test_what_flipped_is_in_the_report_of_its_day(home: Home) -> None:
    night(home, {"2026-11-17/loans.jsonl": LOAN})
    night(home, {"2026-11-16.jsonl": CLIENT})
    summary = json.loads((home.reports / "2026-11-17" / "summary.json").read_bytes())
    because = {
        "path": "2026-11-17/loans.jsonl",
        "line": 1,
        "was": "rejected",
        "now": "applied",
        "because_path": "2026-11-16.jsonl",
    }
    assert summary["flips"] == [because]


def test_a_date_is_withdrawn_whole_and_rerun_names_what_it_leaves_out(home: Home) -> None:
    night(home, {**DROPS, "2026-11-16/b.jsonl": line("client", create("client", client_id="C2"))})
    done = acts.withdraw(home, SETTINGS, date(2026, 11, 16))
    assert sorted(done.drops) == ["2026-11-16.jsonl", "2026-11-16/b.jsonl"]
    with pytest.raises(UsageError, match="withdrawn"):
        acts.rerun(home, SETTINGS, date(2026, 11, 16))
    acts.rerun(home, SETTINGS, "2026-11-16.jsonl")
    again = acts.rerun(home, SETTINGS, date(2026, 11, 16))
    assert again.drops == ("2026-11-16.jsonl",)
    assert [path for path, _ in again.left_out] == ["2026-11-16/b.jsonl"]


def test_a_target_that_names_nothing_is_refused_and_changes_nothing(home: Home) -> None:
    night(home, DROPS)
    before = tables(home), rows(home, "SELECT * FROM runs")
    for act in (acts.withdraw, acts.rerun):
        for target in ("no.jsonl", date(2020, 1, 1)):
            with pytest.raises(UsageError, match="no drop"):
                act(home, SETTINGS, target)
    with pytest.raises(UsageError, match="not held"):
        acts.release(home, SETTINGS, "2026-11-16.jsonl")
    assert (tables(home), rows(home, "SELECT * FROM runs")) == before


def test_a_truncated_drop_is_released_as_it_is(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT + LOAN[:-20], "2026-11-17.csv": b'step,client_id,name\nupdate,C1,"Jo'})
    acts.release(home, SETTINGS, "2026-11-16.jsonl")
    acts.release(home, SETTINGS, "2026-11-17.csv")
    assert rows(home, "SELECT path, line, code FROM rejections ORDER BY path") == [
        ("2026-11-16.jsonl", 2, "malformed_json"),
        ("2026-11-17.csv", 2, "ragged_row"),
    ]
    assert rows(home, "SELECT status FROM drops") == [("applied",), ("applied",)]


def test_an_undated_drop_is_released_with_its_date(home: Home) -> None:
    night(home, {"clients.jsonl": CLIENT})
    with pytest.raises(UsageError, match="--date"):
        acts.release(home, SETTINGS, "clients.jsonl")
    acts.release(home, SETTINGS, "clients.jsonl", business_date=date(2026, 11, 16))
    assert rows(home, "SELECT business_date, status FROM drops") == [(date(2026, 11, 16), "applied")]
    night(home)
    assert rows(home, "SELECT created_on FROM clients") == [(date(2026, 11, 16),)]


def test_what_cannot_be_read_cannot_be_released_but_withdrawn(home: Home) -> None:
    night(home, {"2026-11-16.csv": b"name\nJo\n", "2026-11-17.jsonl.gz": gzip.compress(CLIENT)[:-9]})
    for path in ("2026-11-16.csv", "2026-11-17.jsonl.gz"):
        with pytest.raises(UsageError, match="cannot be released"):
            acts.release(home, SETTINGS, path)
        acts.withdraw(home, SETTINGS, path)
    assert rows(home, "SELECT DISTINCT status FROM drops") == [("withdrawn",)]
    assert run_night(home, SETTINGS).held == ()


def test_plan_shows_what_an_act_would_change_and_changes_nothing(home: Home) -> None:
    night(home, DROPS)
    before = tables(home), rows(home, "SELECT * FROM runs"), home.working.read_bytes()
    planned = acts.plan(home, SETTINGS, lambda copy: acts.withdraw(copy, SETTINGS, "2026-11-16.jsonl"))
    assert (tables(home), rows(home, "SELECT * FROM runs"), home.working.read_bytes()) == before
    assert planned.verdicts.select("path", "was", "now").sort("path").rows() == [
        ("2026-11-16.jsonl", "applied", None),
        ("2026-11-17/loans.jsonl", "applied", "rejected"),
        ("2026-11-18.jsonl", "applied", "rejected"),
    ]
    assert sorted(planned.records.filter(planned.records["change"] == "removed")["category"]) == ["client", "loan", "payment"]
    assert list(home.state.glob("scratch-*")) == []


def test_plan_run_shows_what_the_next_run_does_on_a_new_home_too(home: Home) -> None:
    (home.inbox / "2026-11-16.jsonl").write_bytes(CLIENT)
    planned = acts.plan(home, SETTINGS, lambda copy: run_night(copy, SETTINGS))
    assert planned.verdicts.select("path", "was", "now").rows() == [("2026-11-16.jsonl", None, "applied")]
    assert not home.working.exists()
    assert not home.warehouse.exists()


def test_verify_finds_nothing_after_nights_and_acts_and_something_after_tampering(home: Home) -> None:
    night(home, {"2026-11-17/loans.jsonl": LOAN})
    night(home, DROPS)
    acts.withdraw(home, SETTINGS, "2026-11-18.jsonl")
    assert acts.verify(home, SETTINGS).is_empty
    from pipelines import database

    con = database.connect(home.working)
    con.execute("UPDATE clients SET name = 'Someone Else'")
    database.seal(con)
    assert list(acts.verify(home, SETTINGS).tables) == ["clients", "client_history"]


@pytest.mark.parametrize("loss", ["lost", "damaged", "tampered with"])
def test_rebuild_makes_a_warehouse_that_was_lost(home: Home, loss: str) -> None:
    night(home, DROPS)
    acts.withdraw(home, SETTINGS, "2026-11-18.jsonl")
    before = tables(home)
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    if loss == "lost":
        home.working.unlink()
        shutil.rmtree(home.log)
    elif loss == "damaged":
        home.working.write_bytes(b"nothing of DuckDB")
    else:
        from pipelines import database

        con = database.connect(home.working)
        con.execute("DELETE FROM past.clients")
        database.seal(con)
    acts.rebuild(home, SETTINGS)
    assert tables(home) == before
    assert rows(home, "SELECT count(*) FROM runs")[0][0] == (4 if loss == "tampered with" else 2)
    night(home)
    assert tables(home) == before


def test_rebuild_without_a_book_says_so(home: Home) -> None:
    with pytest.raises(NightdropError, match="no book of editions"):
        acts.rebuild(home, SETTINGS)


def bounces(home: Home) -> list[Path]:
    return sorted(file for file in home.reports.rglob("*.rejected.*") if not file.name.endswith(".reasons.csv"))


BAD = line("client", create("client", client_id="C2", email="x", country="UK"))
GOOD = line("client", create("client", client_id="C2", country="GB"))


def fixed(home: Home, folder: Path, *lines: bytes) -> Path:
    (bounce,) = bounces(home)
    file = folder / bounce.name
    file.write_bytes(b"".join(lines))
    return file


def test_a_repaired_line_is_as_if_the_file_had_been_right_the_first_time(home: Home, tmp_path: Path) -> None:
    loan = line("loan", create("loan", client_id="C2"))
    night(home, {"2026-11-16.jsonl": CLIENT + BAD, "2026-11-17.jsonl": loan})
    (bounce,) = [file for file in bounces(home) if "2026-11-16" in file.name]
    assert bounce.read_bytes() == BAD
    repaired = tmp_path / bounce.name
    repaired.write_bytes(GOOD)
    done = acts.resubmit(home, SETTINGS, repaired)
    assert (done.drops, done.night.flipped) == (("2026-11-16.jsonl line 2",), 2)
    right = home_in(tmp_path / "right")
    night(right, {"2026-11-16.jsonl": CLIENT + GOOD, "2026-11-17.jsonl": loan})
    mine, wanted = tables(home), tables(right)
    for table in ("clients", "loans", "client_history", "loan_history", "events", "rejections", "rejected_lines", "warnings"):
        assert mine[table] == wanted[table], table
    assert rows(home, "SELECT path, line, its_line FROM corrections") == [("2026-11-16.jsonl", 2, 1)]
    assert acts.verify(home, SETTINGS).is_empty


def test_the_same_fix_twice_is_once_and_a_later_fix_stands(home: Home, tmp_path: Path) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT + BAD})
    repaired = fixed(home, tmp_path, GOOD)
    acts.resubmit(home, SETTINGS, repaired)
    before = tables(home)
    assert acts.resubmit(home, SETTINGS, repaired).drops == ()
    assert tables(home) == before
    repaired.write_bytes(GOOD.replace(b"John Doe", b"Jane Roe"))
    acts.resubmit(home, SETTINGS, repaired)
    assert rows(home, "SELECT name FROM clients WHERE client_id = 'C2'") == [("Jane Roe",)]
    assert rows(home, "SELECT count(*) FROM corrections") == [(1,)]


def test_an_empty_line_stays_rejected_and_a_wrong_number_of_lines_is_refused(home: Home, tmp_path: Path) -> None:
    other = line("client", create("client", client_id="C3", gender="x"))
    night(home, {"2026-11-16.jsonl": BAD + other})
    before = tables(home)
    for lines in ((GOOD,), (GOOD, other, other)):
        with pytest.raises(UsageError):
            acts.resubmit(home, SETTINGS, fixed(home, tmp_path, *lines))
    assert tables(home) == before
    acts.resubmit(home, SETTINGS, fixed(home, tmp_path, GOOD, b"\n"))
    assert rows(home, "SELECT line, verdict FROM events ORDER BY line") == [(1, "applied"), (2, "rejected")]


def test_a_fix_that_is_wrong_again_is_rejected_with_the_bytes_of_the_fix(home: Home, tmp_path: Path) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT + BAD})
    worse = BAD.replace(b"UK", b"XX")
    acts.resubmit(home, SETTINGS, fixed(home, tmp_path, worse))
    assert rows(home, "SELECT raw FROM rejected_lines") == [(worse.rstrip(b"\n"),)]
    assert rows(home, "SELECT value FROM rejections WHERE code = 'invalid_country'") == [("XX",)]


def test_a_correction_carries_over_to_a_longer_edition_but_not_to_another(home: Home, tmp_path: Path) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT + BAD})
    acts.resubmit(home, SETTINGS, fixed(home, tmp_path, GOOD))
    night(home, {"2026-11-16.jsonl": CLIENT + BAD + line("client", create("client", client_id="C4"))})
    assert rows(home, "SELECT line, verdict FROM events ORDER BY line") == [(1, "applied"), (2, "applied"), (3, "applied")]
    night(home, {"2026-11-16.jsonl": BAD + CLIENT})
    assert rows(home, "SELECT line, verdict FROM events ORDER BY line") == [(1, "rejected"), (2, "applied")]
    assert rows(home, "SELECT count(*) FROM corrections") == [(0,)]
    assert acts.verify(home, SETTINGS).is_empty


def test_a_csv_bounce_with_cells_over_several_lines_goes_back_too(home: Home, tmp_path: Path) -> None:
    header = b"step,client_id,name,address\r\n"
    night(home, {"2026-11-16.jsonl": CLIENT, "2026-11-17.csv": header + b'update,C1,"Jo",\r\nupdate,C9,"A\r\nB","1, x, y"\r\n'})
    (bounce,) = bounces(home)
    assert bounce.read_bytes() == header + b'update,C9,"A\r\nB","1, x, y"\r\n'
    repaired = tmp_path / bounce.name
    repaired.write_bytes(header + b'update,C1,"A\r\nB","1, x, y"\r\n')
    acts.resubmit(home, SETTINGS, repaired)
    assert rows(home, "SELECT name FROM clients") == [("A\r\nB",)]
