"""The commands that act on drops, from the words typed to the words read, on homes that were really worked on."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from checked import create, line
from homes import copy_of, home_in, night, rows, tables

from flows.cli import call
from flows.commands import acts as commands
from flows.lock import hold
from pipelines.home import Home
from pipelines.problems import UsageError
from pipelines.summary import WHAT_NEXT

MONDAY, TUESDAY = "2026-11-16/clients.jsonl", "2026-11-17/loans.jsonl"
CLIENT, LOAN = line("client", create("client")), line("loan", create("loan"))
BAD = line("client", create("client", client_id="C2", country="UK"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = home_in(tmp_path_factory.mktemp("made"))
    night(made, {MONDAY: CLIENT + BAD, TUESDAY: LOAN})
    return made


@pytest.fixture
def home(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("NIGHTDROP_HOME", raising=False)
    return copy_of(made, tmp_path / "home")


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = call([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def answered(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = said(capsys, *arguments, "--json")
    assert out.count("\n") == 1
    return code, json.loads(out)


def all_files(home: Home) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in home.root.rglob("*") if file.is_file() and not file.name.startswith("lock")}


def test_a_withdrawal_says_what_was_taken_out_what_flipped_and_how_to_undo_it(capsys, home):
    code, out, err = said(capsys, "withdraw", MONDAY, "--home", home.root)
    assert (code, err) == (0, "")
    for words in (
        f"Taken out (1):\n  {MONDAY}\n",
        "Verdicts that are now the other way round (1)",
        f"2026-11-17  {TUESDAY}     1  applied  rejected",
        "`nightdrop rerun PATH` takes one in again",
    ):
        assert words in out
    assert rows(home, "SELECT verdict FROM events") == [("rejected",)]


def test_withdraw_and_rerun_take_a_date_and_say_what_they_left_out(capsys, home):
    night(home, {"2026-11-16/more.jsonl": CLIENT + b"\n"})
    assert said(capsys, "withdraw", MONDAY, "--home", home.root)[0] == 0
    code, data = answered(capsys, "--home", home.root, "rerun", "2026-11-16")
    assert (code, data["acted_on"]) == (0, ["2026-11-16/more.jsonl"])
    (left,) = data["left_out"]
    assert left["what"] == MONDAY
    assert f"nightdrop rerun {MONDAY}" in left["why"]
    code, data = answered(capsys, "rerun", MONDAY, "--home", home.root)
    assert (code, data["acted_on"], data["left_out"]) == (0, [MONDAY], [])


def test_json_of_an_act_is_that_of_a_run_and_what_it_acted_on(capsys, home):
    code, data = answered(capsys, "withdraw", "2026-11-16", "--home", home.root)
    assert (code, data["acted_on"], data["held"], data["flipped"]) == (0, [MONDAY], 0, 1)
    assert data["flips"] == [
        {"business_date": "2026-11-17", "path": TUESDAY, "line": 1, "was": "applied", "now": "rejected", "because_path": MONDAY}
    ]


@pytest.mark.parametrize(
    "given", ["{path}", "./{path}", "data/inbox/{path}", "{home}/data/inbox/{path}", "{home}/data/../data/inbox/{path}"]
)
def test_a_path_may_be_given_from_the_inbox_the_home_or_the_root(home, given):
    assert commands.target_of(home, given.format(path=MONDAY, home=home.root)) == MONDAY


def test_a_path_may_be_given_from_where_one_stands(home, monkeypatch, tmp_path):
    monkeypatch.chdir(home.inbox / "2026-11-16")
    assert commands.target_of(home, "clients.jsonl") == MONDAY
    monkeypatch.chdir(tmp_path)
    assert commands.target_of(home, "home/data/inbox/gone/x.jsonl") == "gone/x.jsonl"
    assert commands.target_of(home, "gone/x.jsonl") == "gone/x.jsonl"


def test_a_path_may_lead_through_a_linked_inbox_and_be_no_text(home, tmp_path):
    real = tmp_path / "elsewhere"
    home.inbox.rename(real)
    home.inbox.symlink_to(real)
    assert commands.target_of(home, str(real / MONDAY)) == MONDAY
    assert commands.target_of(home, str(home.inbox / MONDAY)) == MONDAY
    assert commands.target_of(home, os.fsdecode(b"2026-11-16/\xff.csv")) == "2026-11-16/\\xff.csv"


def test_a_date_is_a_date_and_nothing_else_is(home):
    assert commands.target_of(home, "2026-11-16") == date(2026, 11, 16)
    assert commands.target_of(home, "20261116") == "20261116"
    for text, words in (("2026-02-30", "no such date"), ("/etc/passwd", "does not lie in the inbox")):
        with pytest.raises(UsageError, match=words):
            commands.target_of(home, text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("withdraw", "2026-11-18"),
        ("rerun", "nothing.jsonl"),
        ("release", MONDAY),
        ("release", "x.csv", "--date", "soon"),
        ("resubmit", "none.jsonl"),
        ("plan", "withdraw", "nothing.jsonl"),
        ("plan", "resubmit", "none.jsonl"),
        ("plan",),
        ("plan", "verify"),
    ],
)
def test_what_a_command_cannot_mean_ends_2_and_changes_nothing(capsys, home, arguments):
    before = tables(home), rows(home, "SELECT * FROM drops ORDER BY ALL")
    code, out, err = said(capsys, "--home", home.root, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("nightdrop: ")
    assert (tables(home), rows(home, "SELECT * FROM drops ORDER BY ALL")) == before


def test_an_act_with_some_drop_held_ends_3_and_says_what_can_be_done(capsys, home):
    night(home, {"2026-11-18.jsonl": CLIENT[:-9], "x.csv": b"step,client_id\n"})
    code, out, _ = said(capsys, "withdraw", TUESDAY, "--home", home.root)
    assert code == 3
    assert "`nightdrop release x.csv --date YYYY-MM-DD`" in out
    assert said(capsys, "release", "x.csv", "--date", "20261118", "--home", home.root)[0] == 3
    code, out, _ = said(capsys, "release", "2026-11-18.jsonl", "--home", home.root)
    assert code == 0
    assert "Accepted as it is (1):\n  2026-11-18.jsonl\n" in out
    assert rows(
        home, "SELECT path, business_date, status FROM drops WHERE path IN ('x.csv', '2026-11-18.jsonl') ORDER BY path"
    ) == [
        ("2026-11-18.jsonl", date(2026, 11, 18), "applied"),
        ("x.csv", date(2026, 11, 18), "applied"),
    ]


def test_only_what_can_be_released_is_told_to_be(home):
    telling = {reason for reason, words in WHAT_NEXT.items() if "nightdrop release PATH" in words}
    assert set(WHAT_NEXT) - telling == {"unreadable", "unknown_format", "not_a_file", "csv_header"}


def test_a_fixed_bounce_is_taken_back_line_by_line_and_twice_is_once(capsys, home, monkeypatch):
    (bounce,) = (home.reports / "2026-11-16").glob("*.rejected.jsonl")
    bounce.write_bytes(bounce.read_bytes().replace(b"UK", b"GB"))
    monkeypatch.chdir(bounce.parent)
    code, out, _ = said(capsys, "plan", "resubmit", bounce.name, "--home", home.root)
    assert code == 0
    assert "would change 1 record and 1 verdict. Nothing was changed." in out
    assert f"2026-11-16  {MONDAY}  2      rejected  applied" in out
    copy = home.root / bounce.name
    copy.write_bytes(bounce.read_bytes())
    code, out, _ = said(capsys, "resubmit", bounce.name, "--home", home.root)
    assert code == 0
    assert f"Corrected (1):\n  {MONDAY} line 2\n" in out
    assert rows(home, "SELECT client_id, country FROM clients ORDER BY ALL") == [("C1", "KE"), ("C2", "GB")]
    before = tables(home)
    code, data = answered(capsys, "resubmit", copy, "--home", home.root)
    assert (code, data["acted_on"], data["changed"]) == (0, [], False)
    assert tables(home) == before


def test_a_plan_shows_drops_verdicts_and_records_field_by_field_and_changes_nothing(capsys, home):
    name = line("client", {"step": "update", "client_id": "C1", "name": "Jane"})
    (home.inbox / "2026-11-18.jsonl").write_bytes(name)
    before = all_files(home)
    code, out, err = said(capsys, "plan", "run", "--home", home.root)
    assert (code, err) == (0, "")
    assert out.startswith("`nightdrop run` would change 1 record, 1 verdict and the status of 1 drop. Nothing was changed.")
    for words in (
        "2026-11-18  2026-11-18.jsonl       applied",
        "1 verdict: 1 newly applied",
        "client  C1  changed  name        John Doe    Jane",
        "client  C1  changed  updated_on  2026-11-16  2026-11-18",
    ):
        assert words in out
    code, data = answered(capsys, "plan", "--json", "run", "--home", home.root)
    assert all_files(home) == before
    assert (code, data["is_empty"], data["counts"]["records"]) == (0, False, {"changed": 1})
    assert data["records"][0] == {
        **{"category": "client", "id": "C1", "change": "changed"},
        **{"field": "name", "before": "John Doe", "after": "Jane"},
    }
    assert data["tables"]["clients"]["only_after"][0]["name"] == "Jane"
    answered(capsys, "run", "--home", home.root)
    assert rows(home, "SELECT name FROM clients") == [("Jane",)]


@pytest.mark.parametrize(
    "act", [("withdraw", MONDAY), ("withdraw", "2026-11-17"), ("rerun", MONDAY), ("release", "2026-11-18.csv"), ("run",)]
)
def test_what_plan_shows_is_what_the_command_does(capsys, home, act):
    night(home, {"2026-11-18.csv": b'step,client_id\nupdate,"C1'})
    if act == ("run",):
        (home.inbox / "2026-11-15.jsonl").write_bytes(line("client", create("client", name="First")))
    _, planned = answered(capsys, "plan", *act, "--home", home.root)
    before = tables(home)
    said(capsys, *act, "--home", home.root)
    after = tables(home)
    changed = {name for name in before if before[name] != after[name]} - {"active_clients"}
    assert changed <= set(planned["tables"]) | {"drops"}
    for name, sides in planned["tables"].items():
        if name in before:
            assert len(after[name]) - len(before[name]) == len(sides["only_after"]) - len(sides["only_before"]) or name == "drops"
    _, again = answered(capsys, "plan", "run", "--home", home.root)
    assert again["is_empty"]


def test_a_plan_of_nothing_says_so(capsys, home):
    code, out, _ = said(capsys, "plan", "run", "--home", home.root)
    assert (code, out) == (0, "`nightdrop run` would change nothing.\n")


def test_verify_finds_a_tampered_warehouse_and_rebuild_mends_it(capsys, home):
    from pipelines.database import connect, seal

    assert said(capsys, "verify", "--home", home.root)[:2] == (0, "Every table is what the archive gives, row by row.\n")
    before = tables(home)
    con = connect(home.working)
    con.execute("UPDATE clients SET name = 'Mallory'")
    seal(con)
    code, out, _ = said(capsys, "verify", "--home", home.root)
    assert code == 1
    assert "The warehouse is not what the archive gives: it differs in 1 record." in out
    assert "client  C1  changed  name   Mallory           John Doe" in out
    assert answered(capsys, "verify", "--home", home.root)[1]["counts"]["records"] == {"changed": 1}
    code, out, _ = said(capsys, "rebuild", "--home", home.root)
    assert code == 0
    assert "made anew out of the archive" in out
    assert tables(home) == before
    assert said(capsys, "verify", "--home", home.root)[0] == 0


@pytest.mark.parametrize(
    "command", [("withdraw", MONDAY), ("rerun", MONDAY), ("release", MONDAY), ("verify",), ("rebuild",), ("plan", "run")]
)
def test_every_one_of_them_wants_the_home_for_itself(capsys, home, command):
    with hold(home, command="nightdrop run"):
        code, out, err = said(capsys, *command, "--home", home.root)
    assert (code, out) == (4, "")
    assert "another run has this home" in err


@pytest.mark.parametrize(
    "command", [("withdraw", MONDAY), ("verify",), ("rebuild",), ("plan", "withdraw", MONDAY), ("plan", "run")]
)
def test_a_mistyped_home_is_told_and_not_made(capsys, tmp_path, command):
    code, _, err = said(capsys, *command, "--home", tmp_path / "typo")
    assert code == 1
    assert "--home" in err
    assert not (tmp_path / "typo").exists()
