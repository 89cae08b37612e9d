"""What docs/operate.md says to whoever looks after a home."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from homes import home_in, night, tables

from flows.cli import call
from pipelines import acts
from pipelines.home import Home, Settings
from pipelines.summary import WHAT_NEXT

PAGE = (Path(__file__).parents[1] / "docs" / "operate.md").read_text()
GOOD = (
    b'{"category": "client", "data": {"step": "create", "client_id": "C1", "name": "Jo", "email": "jo@example.com", '
    b'"phone": "+254712345678", "address": "1 Main, Nairobi, KE", "country": "KE", "is_company": false, '
    b'"registration_number": "ID-1", "gender": "male"}}\n'
)
BAD = GOOD.replace(b'"C1"', b'"C2"').replace(b"jo@example.com", b"nobody")


def test_every_held_reason_and_exit_code_stands_on_the_page():
    assert all(f"| `{reason}` |" in PAGE for reason in WHAT_NEXT)
    assert all(f"\n| {code} |" in PAGE for code in (0, 1, 2, 3, 4, 130))


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
