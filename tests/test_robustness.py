"""What a killed process, a power cut or a person may leave in a home does not stop the next night."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import polars as pl
import pytest
from checked import create, line
from homes import deliver, home_in, night, rows, tables
from rich.progress import Progress as RichProgress

from flows.cli import call
from flows.commands import inspection, orchestration
from flows.lock import hold, holder_of
from flows.terminal import _Bar, _Units
from pipelines import shift
from pipelines.eventlog import PartWriter
from pipelines.home import Home
from pipelines.logform import EDITIONS

CLIENT = line("client", create("client"))
LOAN = line("loan", create("loan"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "ho[me]*x")


@pytest.mark.parametrize("damage", [b"", b"null", b"garbage", b'{"a": 5}', b'[{"run_id": 1}]'])
def test_a_damaged_note_does_not_stop_the_night(home: Home, damage: bytes) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    for number, name in enumerate(("to_report.json", "seen.json", "unfinished.json", "published.json"), start=17):
        (home.state / name).write_bytes(damage)
        night(home, {f"2026-11-{number}.jsonl": line("loan", create("loan", loan_id=f"L{number}"))})
        assert not (home.state / "to_report.json").exists()
        assert rows(home, "SELECT DISTINCT verdict FROM events") == [("applied",)]
    assert rows(home, "SELECT count(*) FROM loans") == [(4,)]


def test_a_damaged_note_of_reports_has_all_of_them_written(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    summary = home.reports / "2026-11-16" / "summary.json"
    summary.unlink()
    (home.state / "to_report.json").write_bytes(b"")
    night(home)
    assert summary.exists()


@pytest.mark.parametrize("cut", [0.0, 0.5], ids=["emptied", "cut"])
@pytest.mark.parametrize("kind", ["editions", "index.client", "client"])
def test_a_damaged_part_of_the_log_is_read_again_from_the_archive(home: Home, kind: str, cut: float) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT, "2026-11-17.jsonl": LOAN})
    before = tables(home)
    for file in home.log.glob(f"*/{kind}*.parquet"):
        os.truncate(file, int(cut * file.stat().st_size))
    night(home, {"2026-11-15.jsonl": line("client", create("client", client_id="C0"))})
    after = tables(home)
    assert after["loans"] == before["loans"]
    assert len(after["clients"]) == 2


def test_a_holder_that_was_killed_blocks_nobody(home: Home) -> None:
    home.state.mkdir(parents=True)
    told = {"pid": 1, "command": "nightdrop run", "started_at": "x", "host": "other-host"}
    (home.state / "lock.holder.json").write_text(json.dumps(told))
    assert holder_of(home) is None


def test_a_full_disk_is_told_in_words(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/book")

    night(home, {"2026-11-16.jsonl": CLIENT})
    monkeypatch.setattr(shift, "write_book", full)
    assert call(["--home", str(home.root), "run"]) == 1
    said = capsys.readouterr().err
    assert "/somewhere/book: No space left on device" in said
    assert "not expected" not in said


def test_a_run_that_died_after_its_commit_stays_done(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    ((run_id,),) = rows(home, "SELECT run_id FROM runs")
    left = [{"run_id": run_id, "started_at": "2026-11-16T00:00:00+00:00", "finished_at": None, "state": "died"}]
    (home.state / "unfinished.json").write_text(json.dumps(left))
    night(home)
    assert rows(home, "SELECT state FROM runs") == [("done",), ("done",)]


def test_an_empty_question_is_a_usage_error(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    assert call(["--home", str(home.root), "query", " "]) == 2


def by_command(home: Home, *arguments: str, shell: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; `shell` stands after it, such as `>&-`."""
    words = [sys.executable, "-m", "flows.cli", "--home", str(home.root), *arguments]
    return subprocess.run(f"{shlex.join(words)} {shell}", shell=True, capture_output=True, text=True, check=False)


def test_a_note_of_a_holder_that_nobody_is_does_not_keep_a_run_from_prefect(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(orchestration, "run_nightly", lambda home, settings, only_date: ran.append(home) or night(home))
    home.state.mkdir(parents=True)
    told = {"pid": 1, "command": "nightdrop run", "started_at": "x", "host": platform.node()}
    (home.state / "lock.holder.json").write_text(json.dumps(told))
    assert call(["--home", str(home.root), "run", "--prefect"]) == 0
    assert ran == [home]


def test_who_only_asks_for_the_holder_keeps_no_run_from_its_home(home: Home) -> None:
    home.state.mkdir(parents=True)
    home.lock.touch()
    with home.lock.open() as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (asked, fcntl.LOCK_UN)).start()
        with hold(home, command="nightdrop run"):
            assert holder_of(home)


@pytest.mark.parametrize(("name", "named"), [("a?b", "`?`"), (os.fsdecode(b"a\xffb"), r"b'\xff'")])
@pytest.mark.parametrize("command", ["init", "run"])
def test_a_home_where_duckdb_cannot_work_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, named: str, command: str
) -> None:
    assert call(["--home", str(tmp_path / name), command]) == 2
    assert f"its path has {named}" in capsys.readouterr().err.replace("the byte ", "")
    assert not (tmp_path / name).exists()


def test_a_part_of_the_log_that_lost_a_file_is_read_again_from_the_archive(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT, "2026-11-17.jsonl": LOAN})
    before = tables(home)
    lost = [file.unlink() for file in home.log.glob("*/index.*.parquet")]
    assert lost
    night(home, {"2026-11-15.jsonl": line("client", create("client", client_id="C0"))})
    assert tables(home)["loans"] == before["loans"]
    assert len(tables(home)["clients"]) == 2


def test_a_full_disk_under_the_log_is_told_with_its_file(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, "p")
    (tmp_path / ".writing-p" / "editions.parquet").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as raised:
        writer.close(pl.DataFrame(schema=EDITIONS))
    assert (raised.value.errno, raised.value.filename) == (
        errno.ENOSPC,
        str(tmp_path / ".writing-p" / "editions.parquet"),
    )


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("No space left on device (os error 28)"),
        pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
        duckdb.IOException('IO Error: Could not write file "w.duckdb": No space left on device'),
    ],
)
def test_a_full_disk_is_told_in_words_whoever_meets_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(shift, "write_book", full)
    assert call(["--home", str(home.root), "run"]) == 1
    said = capsys.readouterr().err
    assert str(home.root) in said
    assert "Make room on that disk, then run again" in said


def test_a_sample_to_where_nothing_can_be_made_is_told_in_words(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    assert call(["--home", str(home.root), "sample", "--out", "/proc/x"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("nightdrop: /proc/x: No such file or directory. ")


@pytest.mark.parametrize("question", [";", " -- nothing", "/* nothing */ ;"])
def test_a_question_without_a_statement_is_a_usage_error(home: Home, question: str) -> None:
    night(home)
    assert call(["--home", str(home.root), "query", question]) == 2


def test_a_run_whose_output_is_closed_is_done_without_a_word(home: Home) -> None:
    deliver(home, {"2026-11-16.jsonl": CLIENT})
    done = by_command(home, "run", shell=">&- <&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(home, "SELECT verdict FROM events") == [("applied",)]


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["query", "nonsense", "--json"]])
def test_an_answer_that_cannot_be_written_is_told_without_a_traceback(home: Home, arguments: list[str]) -> None:
    night(home)
    done = by_command(home, *arguments, shell=">/dev/full")
    assert done.returncode in (1, 2)
    assert "standard output: the answer could not be written" in done.stderr or "nonsense" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_run_after_one_that_died_before_publishing_says_what_it_made_good(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.night.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        deliver(home, {"2026-11-16.jsonl": CLIENT})
        assert call(["--home", str(home.root), "run"]) == 130
    assert call(["--home", str(home.root), "run"]) == 0
    said = capsys.readouterr().out
    assert "What an earlier run had left undone is done now:\nthe warehouse is published, 1 report written." in said
    assert call(["--home", str(home.root), "run"]) == 0
    assert "Nothing new: the warehouse is as it was." in capsys.readouterr().out


def test_a_run_and_the_list_of_drops_go_by_position_with_the_undated_last(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(
        home,
        {f"2026-11-16/part-{n}.jsonl": line("client", create("client", client_id=f"C{n}")) for n in (10, 2)}
        | {"undated.jsonl": CLIENT},
    )
    assert call(["--home", str(home.root), "run", "--json"]) == 3
    assert call(["--home", str(home.root), "drops", "--json"]) == 0
    for said in capsys.readouterr().out.splitlines():
        assert [drop["path"] for drop in json.loads(said)["drops"]] == [
            "2026-11-16/part-2.jsonl",
            "2026-11-16/part-10.jsonl",
            "undated.jsonl",
        ]


def test_status_sees_a_file_that_changed_behind_its_size_and_time(home: Home) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    assert inspection.status(home).data["pending"] == []
    file = home.inbox / "2026-11-16.jsonl"
    before = file.stat()
    file.write_bytes(CLIENT.replace(b"C1", b"C2"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert inspection.status(home).data["pending"] == ["2026-11-16.jsonl"]
    night(home)
    assert inspection.status(home).data["pending"] == []
    file.write_bytes(CLIENT)
    assert inspection.status(home).data["pending"] == ["2026-11-16.jsonl"], "the old bytes again replace the new ones"


def test_status_counts_what_prefect_keeps_and_one_event_is_one(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    night(home, {"2026-11-16.jsonl": CLIENT})
    (home.state / "prefect" / "deep").mkdir(parents=True)
    (home.state / "prefect" / "deep" / "server.db").write_bytes(b"x" * 2048)
    assert call(["--home", str(home.root), "status"]) == 0
    said = capsys.readouterr().out
    assert "prefect 2.0 KiB" in said
    assert ", 1 event (" in said


def test_the_progress_bar_counts_what_is_counted_and_nothing_else() -> None:
    with RichProgress(_Units(), disable=True) as shown:
        bar = _Bar(shown)
        bar.step("archive 2026-11-16", 3)
        bar.advance()
        assert [str(_Units().render(task)) for task in shown.tasks] == ["1/3"]
        bar.step("settle", None)
        assert [str(_Units().render(task)) for task in shown.tasks] == [""]
