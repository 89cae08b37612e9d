"""What docs/operate.md says to whoever looks after a home."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from homes import deliver, home_in, night, rows, tables

from flows import cli
from flows.cli import call
from flows.commands.night import HELD
from pipelines import acts
from pipelines.database import connect
from pipelines.home import Home, Settings
from pipelines.summary import WHAT_NEXT

PAGE = (Path(__file__).parents[1] / "docs" / "operate.md").read_text()
GOOD = (
    b'{"category": "client", "data": {"step": "create", "client_id": "C1", "name": "Jo", "email": "jo@example.com", '
    b'"phone": "+254712345678", "address": "1 Main, Nairobi, KE", "country": "KE", "is_company": false, '
    b'"registration_number": "ID-1", "gender": "male"}}\n'
)
BAD = GOOD.replace(b'"C1"', b'"C2"').replace(b"jo@example.com", b"nobody")


def table(head: str) -> list[str]:
    """Return the first cells of the rows of the table with that head."""
    _, _, rest = PAGE.partition(f"{head}\n|---|---|---|\n")
    return re.findall(r"^\| `?(.+?)`? \|", rest.partition("\n\n")[0], re.MULTILINE)


def test_the_page_has_every_exit_code_and_no_other():
    codes = {0, cli.FAILED, cli.USAGE, HELD, cli.BUSY, cli.INTERRUPTED}
    assert sorted(map(int, table("| exit | means | do |"))) == sorted(codes)


def test_the_page_has_every_held_reason_and_no_other():
    assert sorted(table("| reason | means | do |")) == sorted(WHAT_NEXT)


def test_a_home_whose_tables_are_of_another_version_is_rebuilt_as_the_page_says(tmp_path, capsys):
    home = home_in(tmp_path)
    night(home, {"2026-11-16/c.jsonl": GOOD})
    with connect(home.working) as con:
        con.execute("ALTER TABLE warnings DROP COLUMN message").fetchall()
        con.execute("CREATE OR REPLACE MACRO nightdrop_schema() AS 'older'").fetchall()
        con.execute("CHECKPOINT").fetchall()
    deliver(home, {"2026-11-17/c.jsonl": GOOD.replace(b'"C1"', b'"C2"')})
    words = ["--home", str(home.root)]
    assert call(["run", *words]) == 1
    assert "of another version of nightdrop. Nothing was changed" in capsys.readouterr().err
    assert [call([command, *words]) for command in ("rebuild", "run", "verify")] == [0, 0, 0]
    assert rows(home, "SELECT count(*) FROM clients") == [(2,)]


def test_a_working_file_that_duckdb_refuses_is_made_again_as_the_page_says(tmp_path, capsys):
    home = home_in(tmp_path)
    night(home, {"2026-11-16/c.jsonl": GOOD + BAD})
    before = tables(home)
    home.working.write_bytes(b"of a DuckDB to come" * 1000)
    words = ["--home", str(home.root)]
    assert call(["run", *words]) == 1
    assert "`nightdrop rebuild`" in capsys.readouterr().err
    home.working.rename(tmp_path / "aside.duckdb")
    assert [call([command, *words]) for command in ("rebuild", "verify")] == [0, 0]
    assert tables(home) == before


def test_a_home_comes_back_from_archive_book_and_bounces_alone(tmp_path):
    home = home_in(tmp_path / "home")
    night(home, {"2026-11-16/c.jsonl": GOOD + BAD, "2026-11-17/c.jsonl": GOOD.replace(b'"C1"', b'"C3"')})
    acts.withdraw(home, Settings(), "2026-11-17/c.jsonl")
    bounce = next((home.reports / "2026-11-16").glob("*.rejected.jsonl"))
    bounce.write_bytes(bounce.read_bytes().replace(b"nobody", b"ann@example.com"))
    acts.resubmit(home, Settings(), bounce)
    restored = Home(tmp_path / "restored")
    restored.inbox.mkdir(parents=True)
    for folder in ("archive", "book", "bounces"):
        shutil.copytree(home.state / folder, restored.state / folder)
    acts.rebuild(restored, Settings())
    assert tables(restored) == tables(home)
    assert acts.verify(restored, Settings()).is_empty


@pytest.mark.skipif(shutil.which("flock") is None, reason="there is no flock program here")
def test_a_backup_under_flock_keeps_runs_out(tmp_path, capsys):
    home = home_in(tmp_path)
    night(home, {"2026-11-16/c.jsonl": GOOD})
    with subprocess.Popen(["flock", str(home.lock), "cat"], stdin=subprocess.PIPE) as backup:
        while True:
            code = call(["run", "--home", str(home.root)])
            if code == 4:  # it takes flock an instant to have it
                break
            assert code == 0
        assert backup.stdin is not None
        backup.stdin.close()
    assert call(["run", "--home", str(home.root)]) == 0
    assert "another run has this home" in capsys.readouterr().err
