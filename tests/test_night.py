"""A night from the inbox to the reports: what a second run, a second day, a late file and a broken world do to it."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from checked import create, line
from homes import assert_same, deliver, home_in, night, rows, tables
from oracle import expected

from pipelines.home import Home, Settings
from pipelines.night import run_night
from pipelines.problems import NightdropError
from pipelines.publishing import Publication, publish

INBOX = Path(__file__).parent.parent / "data" / "inbox"
CLIENT = line("client", create("client"))
LOAN = line("loan", create("loan"))
PAYMENT = line("payment", create("payment"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "home")


def sample() -> dict[str, bytes]:
    return {file.relative_to(INBOX).as_posix(): file.read_bytes() for file in INBOX.rglob("*") if file.is_file()}


def counts(home: Home) -> list[tuple[str, str, int]]:
    return rows(home, "SELECT path, verdict, count(*) FROM events GROUP BY ALL ORDER BY ALL")


def test_the_sample_drops_equal_the_loop(home: Home) -> None:
    night(home, sample())
    assert_same(tables(home), expected(sample()))


def test_a_second_run_changes_nothing_and_says_so(home: Home) -> None:
    first = night(home, sample())
    before = tables(home)
    decided = rows(home, "SELECT path, line, decided_at FROM events ORDER BY ALL")
    again = night(home)
    assert (first.changed, again.changed, again.events, again.dates) == (True, False, 0, ())
    assert tables(home) == before
    assert rows(home, "SELECT path, line, decided_at FROM events ORDER BY ALL") == decided
    assert rows(home, "SELECT count(*) FROM runs WHERE state = 'done'") == [(2,)]
    assert [drop.status for drop in again.drops] == ["held", "held"]


def test_two_days_one_by_one_leave_the_same_tables_as_both_at_once(tmp_path: Path) -> None:
    drops = {"a/2026-11-16.jsonl": CLIENT, "a/2026-11-17.jsonl": LOAN, "b/2026-11-17.csv": b"step,client_id,name\nupdate,C1,Jo\n"}
    one, both = home_in(tmp_path / "one"), home_in(tmp_path / "both")
    night(one, {"a/2026-11-16.jsonl": CLIENT})
    night(one, drops)
    night(both, drops)
    assert tables(one) == tables(both)
    assert_same(tables(one), expected(drops))


def test_a_late_client_file_reinstates_its_loans_and_their_payments(home: Home) -> None:
    night(home, {"2026-11-17.jsonl": LOAN + PAYMENT})
    assert counts(home) == [("2026-11-17.jsonl", "rejected", 2)]
    late = night(home, {"2026-11-16.jsonl": CLIENT})
    assert counts(home) == [("2026-11-16.jsonl", "applied", 1), ("2026-11-17.jsonl", "applied", 2)]
    assert late.flipped == 2
    assert rows(home, "SELECT path, line, was, now, because_path FROM verdict_changes ORDER BY line") == [
        ("2026-11-17.jsonl", 1, "rejected", "applied", "2026-11-16.jsonl"),
        ("2026-11-17.jsonl", 2, "rejected", "applied", "2026-11-16.jsonl"),
    ]
    assert late.dates == (date(2026, 11, 16), date(2026, 11, 17))


def test_a_file_that_changed_takes_its_old_edition_place(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT, "2026-11-17.jsonl": LOAN})
    renamed = line("client", create("client", client_id="C2"))
    night(home, {"2026-11-16.jsonl": renamed})
    now = {"2026-11-16.jsonl": renamed, "2026-11-17.jsonl": LOAN}
    assert [row[0] for row in tables(home)["clients"]] == ["C2"]
    wanted = expected(now)
    found = tables(home)
    found["drops"] = [row for row in found["drops"] if row[8] != "superseded"]
    assert_same(found, wanted)


def test_a_truncated_file_is_held_until_it_comes_whole(home: Home) -> None:
    held = night(home, {"2026-11-16.jsonl": CLIENT + LOAN[:-20]})
    assert [(drop.status, drop.reason) for drop in held.drops] == [("held", "truncated")]
    assert tables(home)["clients"] == []
    whole = night(home, {"2026-11-16.jsonl": CLIENT + LOAN})
    assert [(drop.status, drop.applied) for drop in whole.drops] == [("applied", 2)]
    assert rows(home, "SELECT status FROM drops ORDER BY ALL") == [("applied",), ("superseded",)]


def test_a_held_new_edition_leaves_the_older_in_place(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    night(home, {"2026-11-16.jsonl": CLIENT + LOAN[:-20]})
    assert rows(home, "SELECT status, reason FROM drops ORDER BY ALL") == [("applied", None), ("held", "truncated")]
    assert len(tables(home)["clients"]) == 1


def test_a_file_that_disappears_changes_nothing(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT, "2026-11-17.jsonl": LOAN[:-20]})
    before = tables(home)
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    night(home)
    assert tables(home) == before


def test_only_the_drops_of_one_date_are_picked_up_when_asked_for(home: Home) -> None:
    night(home, {})
    (home.inbox / "2026-11-16.jsonl").write_bytes(CLIENT)
    (home.inbox / "2026-11-17.jsonl").write_bytes(LOAN)
    run_night(home, Settings(), only_date=date(2026, 11, 17))
    assert counts(home) == [("2026-11-17.jsonl", "rejected", 1)]
    run_night(home, Settings())
    assert {verdict for _, verdict, _ in counts(home)} == {"applied"}


@pytest.mark.parametrize(("chunk_bytes", "largest"), [(1, 300), (500, 2000), (10_000, 5000)])
def test_the_size_of_a_chunk_leaves_no_trace(tmp_path: Path, chunk_bytes: int, largest: int) -> None:
    drops = {path: data for path, data in sample().items() if len(data) < largest}
    assert drops
    home = home_in(tmp_path / "home")
    night(home, drops, chunk_bytes=chunk_bytes)
    assert_same(tables(home), expected(drops))


def test_an_empty_inbox_makes_an_empty_warehouse(home: Home) -> None:
    first = night(home)
    assert (first.changed, first.drops) == (False, ())
    assert all(not table for table in tables(home).values())


def test_a_missing_inbox_is_a_clear_word(tmp_path: Path) -> None:
    with pytest.raises(NightdropError, match="no inbox folder"):
        run_night(Home(tmp_path), Settings())


def test_a_folder_named_like_a_drop_is_looked_into(home: Home) -> None:
    night(home, {"2026-11-16.jsonl/clients.jsonl": CLIENT})
    assert counts(home) == [("2026-11-16.jsonl/clients.jsonl", "applied", 1)]


def test_files_that_cannot_be_read_are_held_and_the_others_go_on(home: Home) -> None:
    broken = gzip.compress(LOAN)[:-9]
    os.mkfifo(home.inbox / "2026-11-16.jsonl")
    (home.inbox / "2026-11-18.jsonl").symlink_to("/etc/hostname")
    result = night(
        home, {"2026-11-16/a.jsonl": CLIENT, "2026-11-17.jsonl.gz": broken, "2026-11-17.txt": b"", "x.csv": b"step,loan_id\n"}
    )
    assert {(drop.path, drop.reason) for drop in result.drops} == {
        ("2026-11-16.jsonl", "not_a_file"),
        ("2026-11-16/a.jsonl", None),
        ("2026-11-17.jsonl.gz", "unreadable"),
        ("2026-11-17.txt", "unknown_format"),
        ("2026-11-18.jsonl", "not_a_file"),
        ("x.csv", "no_business_date"),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be refused")
def test_a_file_without_permission_is_held(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    script = (
        "import os, sys\n"
        "from pathlib import Path; from pipelines.discovery import discover\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "print([c.hold[0] for c in discover(Path(sys.argv[1]))])"
    )
    inbox = Path("/tmp") / f"nightdrop-test-{os.getpid()}"
    inbox.mkdir(mode=0o755)
    try:
        (inbox / "2026-11-16.jsonl").write_bytes(CLIENT)
        (inbox / "2026-11-16.jsonl").chmod(0o000)
        code = Path(__file__).parent.parent
        done = subprocess.run([sys.executable, "-c", script, inbox], cwd=code, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "['unreadable']"
    finally:
        shutil.rmtree(inbox)


def test_the_original_bytes_are_in_the_archive_also_of_held_drops(home: Home) -> None:
    night(home, sample())
    for sha256, size in rows(home, "SELECT sha256, bytes FROM drops"):
        assert (home.archive / sha256[:2] / sha256).stat().st_size == size


def test_a_run_that_failed_is_in_the_diary_and_leaves_no_trace_in_the_tables(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    before = tables(home)
    from pipelines import gate

    def trip(con: object, *, since: date) -> None:
        raise NightdropError("the gate tripped")

    with monkeypatch.context() as patch:
        patch.setattr(gate, "check", trip)
        with pytest.raises(NightdropError, match="the gate tripped"):
            night(home, {"2026-11-17.jsonl": LOAN})
    assert tables(home) == before
    night(home)
    assert len(tables(home)["loans"]) == 1
    assert rows(home, "SELECT state FROM runs ORDER BY started_at") == [("done",), ("failed",), ("done",)]


def test_a_new_rule_set_decides_everything_again(home: Home) -> None:
    odd = line("client", create("client", registration_number="DL-77"))
    night(home, {"2026-11-16.jsonl": odd, "2026-11-17.jsonl": LOAN})
    assert {verdict for _, verdict, _ in counts(home)} == {"rejected"}
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    night(home, registration_patterns={"individual": "DL-.+"})
    assert {verdict for _, verdict, _ in counts(home)} == {"applied"}


def test_a_lost_log_is_read_again_from_the_archive(home: Home) -> None:
    night(home, sample())
    before = tables(home)
    shutil.rmtree(home.log)
    shutil.rmtree(home.inbox)
    home.inbox.mkdir()
    night(home, {"2026-11-15.jsonl": CLIENT})
    night(home)
    assert_same(tables(home), expected({**sample(), "2026-11-15.jsonl": CLIENT}))
    assert before != tables(home)


def test_analysts_see_comments_and_the_tables_as_of_a_date(home: Home) -> None:
    night(
        home,
        {"2026-11-16.jsonl": CLIENT, "2026-11-18.jsonl": b'{"category":"client","data":{"step":"delete","client_id":"C1"}}\n'},
    )
    found = [rows(home, f"SELECT client_id, deleted_on FROM clients_as_of('2026-11-{day}')") for day in (15, 16, 17, 18)]
    assert found == [[], [("C1", None)], [("C1", None)], [("C1", date(2026, 11, 18))]]
    assert rows(
        home, "SELECT count(*) FROM duckdb_columns() WHERE schema_name = 'main' AND comment IS NULL AND NOT internal"
    ) == [(0,)]


def test_the_published_warehouse_can_be_read_while_a_run_goes_on(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    with duckdb.connect(str(home.warehouse), read_only=True) as con:
        night(home, {"2026-11-17.jsonl": LOAN})
        assert con.execute("SELECT count(*) FROM loans").fetchall() == [(0,)]
    assert rows(home, "SELECT count(*) FROM loans") == [(1,)]


def test_a_publication_that_fails_beside_the_reports_fails_the_run_and_the_next_one_makes_it_good(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.night.publish", Refusing(times=1))
        with pytest.raises(NightdropError, match="no room"):
            night(home, {"2026-11-17.jsonl": LOAN})
    assert rows(home, "SELECT count(*) FROM loans") == [(0,)]
    assert (home.reports / "2026-11-17" / "summary.json").exists()
    assert night(home).dates == (date(2026, 11, 17),)
    assert rows(home, "SELECT count(*) FROM loans") == [(1,)]
    assert night(home).dates == ()


def test_a_publication_that_is_tried_again_is_made_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.night.publish", refusing := Refusing(times=2))
    failures = []

    def patiently(_name: str, work: Callable[[], Any]) -> Any:
        while True:
            try:
                return work()
            except NightdropError as failure:
                failures.append(str(failure))

    deliver(home, {"2026-11-16.jsonl": CLIENT})
    run_night(home, Settings(), around=patiently)
    assert (failures, refusing.times) == (["no room"] * 2, 0)
    assert rows(home, "SELECT count(*) FROM clients") == [(1,)]


class Refusing:
    """Publishes, once it has refused to so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, working: Path, published: Path) -> Publication:
        if self.times:
            self.times -= 1
            raise NightdropError("no room")
        return publish(working, published)


def test_two_names_that_read_alike_do_not_stop_the_night(home: Home) -> None:
    folder = home.inbox / "2026-11-16"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.jsonl")).write_bytes(CLIENT)
    (folder / r"\xff.jsonl").write_bytes(CLIENT)
    found = night(home).drops
    assert sorted((drop.status, drop.reason) for drop in found) == [("applied", None), ("held", "not_a_file")]
