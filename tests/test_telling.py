"""Who is told what a run came to: the log, the hooks, the metrics. Real listeners and programs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from homes import deliver, home_in, rows
from prometheus_client.parser import text_string_to_metric_families

from flows.cli import call
from flows.metrics import write_metrics
from pipelines.problems import NightdropError

MONDAY = date(2026, 11, 16)
GOOD = (
    b'{"category": "client", "data": {"step": "create", "client_id": "C1", "name": "Jo Secret", "email": "jo@example.com", '
    b'"phone": "+254712345678", "address": "1 Main, Nairobi, KE", "country": "KE", "is_company": false, '
    b'"registration_number": "ID-1", "gender": "male"}}\n'
)
BAD = GOOD.replace(b'"C1"', b'"C2"').replace(b"jo@example.com", b"nobody")


class Listener:
    """A local listener that keeps what it is sent and gives the answers it is told."""

    def __init__(self, *answers: int) -> None:
        self.bodies: list[dict] = []
        told, left = self.bodies, list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(left.pop(0) if left else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-token"
        self.thread = Thread(target=self.server.serve_forever)

    def __enter__(self) -> Listener:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("NIGHTDROP_HOME", "NIGHTDROP_LOG_FILE"):
        monkeypatch.delenv(name, raising=False)
    return home_in(tmp_path / "night")


def say(home, text: str) -> None:
    (home.root / "nightdrop.toml").write_text(text)


def test_a_webhook_is_told_of_held_drops_and_of_many_rejects(home, capsys):
    deliver(home, {"2026-11-16/c.jsonl": GOOD + BAD, "nodate.jsonl": GOOD})
    with Listener(500) as listener:
        say(home, f'[hooks]\nurl = "{listener.url}"\nrejects_above = 0.3\n')
        assert call(["run", "--home", str(home.root)]) == 3
    first, told = listener.bodies  # the first was answered with an error, so it was sent again
    assert first == told
    assert told["about"] == ["held", "rejects"]
    assert told["held"][0] | {"what_next": ""} == {
        "path": "nodate.jsonl",
        "business_date": None,
        "reason": "no_business_date",
        "what_next": "",
    }
    assert (told["applied"], told["rejected"], told["reasons"]) == (1, 1, {"invalid_email": 1})
    assert "Secret" not in json.dumps(told)
    assert "secret-token" not in (home.state / "nightdrop.log").read_text() + capsys.readouterr().err


def test_a_command_is_told_of_a_failure_on_its_standard_input(home, tmp_path, capsys):
    script = "import os, sys; open(sys.argv[1], 'w').write(os.environ['NIGHTDROP_ABOUT'] + sys.stdin.read())"
    say(home, f"[hooks]\ncommand = {json.dumps([sys.executable, '-c', script, str(tmp_path / 'told')])}\n")
    home.inbox.rmdir()
    assert call(["run", "--home", str(home.root)]) == 1
    told = (tmp_path / "told").read_text()
    assert told.startswith("failed{")
    assert "no inbox folder" in json.loads(told.removeprefix("failed"))["text"]


def test_a_command_that_is_told_may_ask_nightdrop_more(home, tmp_path):
    deliver(home, {"nodate.jsonl": GOOD, "2026-11-16/c.jsonl": GOOD})
    script = f"{sys.executable} -m flows.cli --home {home.root} explain C1 --json > {tmp_path / 'told'}"
    say(home, f"[hooks]\ncommand = {json.dumps(['sh', '-c', script])}\n")
    assert call(["run", "--home", str(home.root)]) == 3
    assert json.loads((tmp_path / "told").read_text())["chapters"]


def test_nobody_is_told_of_a_night_that_is_fine(home):
    deliver(home, {"2026-11-16/c.jsonl": GOOD})
    with Listener() as listener:
        say(home, f'[hooks]\nurl = "{listener.url}"\nrejects_above = 0\n')
        assert call(["run", "--home", str(home.root)]) == 0
    assert listener.bodies == []


def test_a_hook_that_fails_is_noted_and_fails_no_run(home, capsys):
    deliver(home, {"nodate.jsonl": GOOD, "2026-11-16/c.jsonl": GOOD})
    with Listener(500, 500, 500) as listener:
        say(home, f'[hooks]\nurl = "{listener.url}"\ncommand = ["/no/such/program"]\n')
        assert call(["run", "--home", str(home.root)]) == 3
    err = capsys.readouterr().err
    assert "the hook 127.0.0.1 could not be told: it answered 500" in err
    assert "the hook /no/such/program could not be told: FileNotFoundError" in err
    assert rows(home, "SELECT state FROM runs") == [("done",)]


def test_the_log_has_one_json_object_a_line_and_nobodys_data(home, tmp_path, capsys):
    deliver(home, {"2026-11-16/c.jsonl": GOOD + BAD})
    call(["run", "--home", str(home.root), "--verbose"])
    call(["withdraw", "2026-11-16", "--home", str(home.root), "--log-file", str(tmp_path / "own.log"), "--quiet"])
    lines = [json.loads(line) for line in (home.state / "nightdrop.log").read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"] != "step"] == ["begin", "end"]
    assert {line["step"] for line in lines if line["event"] == "step"} >= {"discover", "settle", "load", "publish"}
    assert lines[-1]["rejected"] == 1
    own = (tmp_path / "own.log").read_text()
    assert {json.loads(line)["command"] for line in own.splitlines()} == {"withdraw"}
    out, err = capsys.readouterr()
    assert "step step=settle" in err
    assert "Taken out" not in out
    for secret in ("Secret", "nobody", "C2", "254712345678"):
        assert secret not in own + (home.state / "nightdrop.log").read_text()


def metrics(home) -> dict[str, float]:
    families = text_string_to_metric_families((home.state / "metrics.prom").read_text())
    samples = [sample for family in families for sample in family.samples]
    assert {sample.labels["home"] for sample in samples} == {str(home.root)}
    return {sample.name.removeprefix("nightdrop_"): sample.value for sample in samples}


def test_the_metrics_are_there_for_a_node_exporter(tmp_path):
    home = home_in(tmp_path / 'a "quoted" näme')
    deliver(home, {"2026-11-16/c.jsonl": GOOD + BAD, "nodate.jsonl": GOOD})
    call(["--quiet", "run", "--home", str(home.root)])
    found = metrics(home)
    numbers = ("last_run_events", "last_run_applied", "last_run_rejected", "held_drops", "missing_drops", "last_run_failed")
    assert [found[name] for name in numbers] == [2, 1, 1, 1, 0, 0]
    assert found["last_success_timestamp_seconds"] == found["last_run_timestamp_seconds"] > 1.6e9


def test_metrics_that_were_killed_while_they_were_written_leave_nothing_beside_the_next_ones(home):
    script = "import os, signal, sys; os.replace = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL); "
    script += "from pathlib import Path; Path.replace = os.rename = os.replace; from flows.metrics import write_metrics; "
    script += "from pipelines.home import Home; write_metrics(Home(Path(sys.argv[1])), None)"
    home.state.mkdir(parents=True)
    assert subprocess.run([sys.executable, "-c", script, home.root], check=False).returncode == -signal.SIGKILL
    assert [file.name for file in home.state.iterdir()] == [".metrics.prom.tmp"]
    write_metrics(home, None)
    assert [file.name for file in home.state.iterdir()] == ["metrics.prom"]


def test_after_a_failure_the_metrics_still_say_what_waits(home):
    deliver(home, {"nodate.jsonl": GOOD})
    call(["run", "--home", str(home.root)])
    before = metrics(home)
    home.inbox.rename(home.inbox.with_name("away"))
    assert call(["run", "--home", str(home.root)]) == 1
    found = metrics(home)
    assert (found["last_run_failed"], found["held_drops"]) == (1, 1)
    assert found["last_success_timestamp_seconds"] == before["last_run_timestamp_seconds"] < found["last_run_timestamp_seconds"]
    (home.state / "metrics.prom").write_bytes(b"\xff not ours {")
    assert call(["run", "--home", str(home.root)]) == 1
    assert metrics(home)["last_run_failed"] == 1


def test_settings_that_let_no_run_begin_are_told_of(home, capsys):
    with Listener() as listener:
        say(home, f'hold_above = 2\n[hooks]\nurl = "{listener.url}"\n')
        assert call(["run", "--home", str(home.root)]) == 2
        say(home, f'[sources.acme]\nx = 1\n[hooks]\nurl = "{listener.url}"\n')
        assert call(["withdraw", "x", "--home", str(home.root)]) != 0  # whoever types it sees it
    (told,) = listener.bodies
    assert told["about"] == ["failed"]
    assert "nightdrop.toml, line 1: hold_above" in told["error"]


@pytest.mark.parametrize(
    "wrong",
    ['url = "htps://x/secret-token"', 'url = "http:///secret-token"', 'url = ["secret-token"]', 'command = "secret-token"'],
)
def test_a_wrong_hook_is_told_of_without_what_it_says(home, wrong, capsys):
    say(home, f"[hooks]\n{wrong}\n")
    assert call(["run", "--home", str(home.root), "--json"]) == 2
    out, err = capsys.readouterr()
    assert "nightdrop.toml, line 2: hooks." in err
    assert "secret-token" not in out + err


def test_a_message_stays_small_and_says_the_most_in_one_sentence(home):
    deliver(home, {f"nodate{number:02}.jsonl": GOOD + b"\n" * number for number in range(60)})
    deliver(home, {"2026-11-16/c.jsonl": GOOD + BAD})
    with Listener() as listener:
        say(home, f'[hooks]\nurl = "{listener.url}"\n')
        call(["run", "--home", str(home.root)])
    (told,) = listener.bodies
    assert (len(told["held"]), told["held_drops"], told["missing_drops"]) == (50, 60, 0)
    assert told["text"] == (
        "nightdrop night: 2 events, 1 rejected (50.0%); 60 held (nodate00.jsonl: no_business_date, nodate01.jsonl: "
        "no_business_date, nodate02.jsonl: no_business_date, and 57 more)."
    )


def test_a_command_that_is_told_may_ask_nightdrop_itself(home, tmp_path):
    deliver(home, {"nodate.jsonl": GOOD})
    ask = "import sys; sys.argv = ['nightdrop', 'status', '--home', sys.argv[1]]; from flows.cli import main; main()"
    command = [sys.executable, "-c", ask, str(home.root)]
    say(home, f"[hooks]\ncommand = {json.dumps(command)}\n")
    assert call(["run", "--home", str(home.root)]) == 3
    (line,) = [json.loads(line) for line in (home.state / "nightdrop.log").read_text().splitlines() if '"hook"' in line]
    assert (line["hook"], line["problem"]) == (sys.executable, None)


def test_a_home_that_is_busy_is_no_failure_to_be_told_of(home):
    from flows.lock import hold

    with Listener() as listener:
        say(home, f'[hooks]\nurl = "{listener.url}"\n')
        with hold(home, command="nightdrop run"):
            assert call(["run", "--home", str(home.root)]) == 4
    assert listener.bodies == []


def test_what_is_not_ours_to_say_is_not_told_word_by_word(home, monkeypatch):
    import pipelines.night

    def fail(*_: object, **__: object) -> None:
        raise ValueError("Jo Secret")

    monkeypatch.setattr(pipelines.night, "run_night", fail)
    with Listener() as listener:
        say(home, f'[hooks]\nurl = "{listener.url}"\n')
        assert call(["run", "--home", str(home.root)]) == 1
    assert listener.bodies[0]["error"] == "ValueError; see data/state/failures.log"
    assert NightdropError.__name__ not in listener.bodies[0]["text"]
    assert Path(home.state / "failures.log").exists()


def test_a_path_that_steers_a_terminal_is_told_as_text(home, capsys):
    deliver(home, {"no\x1b[31m\ndate.jsonl": GOOD})
    with Listener() as listener:
        say(home, f'[hooks]\nurl = "{listener.url}"\n')
        assert call(["run", "--verbose", "--home", str(home.root)]) == 3
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert r"held path=no\x1b[31m\ndate.jsonl reason=no_business_date" in err
    assert r"(no\x1b[31m\ndate.jsonl: no_business_date)" in listener.bodies[0]["text"]


def test_no_log_of_a_library_has_the_address_of_a_hook(home, caplog):
    deliver(home, {"nodate.jsonl": GOOD})
    caplog.set_level("DEBUG")
    with Listener() as listener:
        say(home, f'[hooks]\nurl = "{listener.url}"\n')
        call(["run", "--home", str(home.root)])
    assert listener.bodies
    assert "secret-token" not in caplog.text
