"""The deployments on a real Prefect server with a real worker: deployed offline, validated, one at a time, the dead shown as dead."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from homes import deliver, home_in, rows

from flows.lock import holder_of

ROOT = Path(__file__).parents[1]
PREFECT = [sys.executable, "-m", "prefect"]
EVENT = (
    b'{"category": "client", "data": {"step": "create", "client_id": "C1", "name": "Jo Secret", "email": "jo@example.com", '
    b'"phone": "+254712345678", "address": "1 Main, Nairobi, KE", "country": "KE", "is_company": false, '
    b'"registration_number": "ID-1", "gender": "male"}}\n'
)


class Server:
    """A Prefect server of its own, what is deployed on it, and its workers."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.api = f"http://127.0.0.1:{port}/api"
        self.home = home_in(folder / "home")
        self.database = folder / "prefect" / "prefect.db"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "NIGHTDROP"))}
        self.environment = clean | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "NIGHTDROP_HOME": str(self.home.root),
            "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT)))),
        }
        self.client = httpx.Client(base_url=self.api, timeout=30, trust_env=False)
        self.log = (folder / "log").open("wb")
        self.server = self.begin("server", "start", "--port", str(port))
        self.wait(self._is_there)

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*PREFECT, *arguments], env=self.environment, cwd=ROOT, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def say(self, *arguments: str) -> None:
        done = subprocess.run([*PREFECT, *arguments], env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _is_there(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.client.get("/health").status_code == 200
        return False

    @staticmethod
    def wait(what: Callable[[], Any], seconds: float = 120) -> Any:
        ends = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < ends, "it did not come to that"
            time.sleep(0.3)
        return found

    def start(self, name: str, **parameters: Any) -> httpx.Response:
        found = self.client.get(f"/deployments/name/{name}/{name}").json()
        place, body = f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters}
        # Its SQLite is busy at times; Prefect's own client asks again too.
        return self.wait(lambda: (answer := self.client.post(place, json=body)).status_code != 503 and answer)

    def state(self, run: httpx.Response) -> str:
        return str(self.client.get(f"/flow_runs/{run.json()['id']}").json()["state"]["name"])

    def ended(self, run: httpx.Response) -> str:
        return self.wait(lambda: (state := self.state(run)) in ("Completed", "Failed", "Crashed", "Cancelled") and state)

    def scheduled(self) -> int:
        body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        return int(self.client.post("/flow_runs/count", json=body).json())

    def stop(self) -> None:
        self.client.close()
        end(self.server, signal.SIGTERM)
        self.log.close()


def end(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("deployed"))
    try:
        server.say("work-pool", "create", "nightdrop", "--type", "process", "--overwrite")
        server.say("--no-prompt", "deploy", "--all")
        yield server
    finally:
        server.stop()


@pytest.fixture
def worker(server) -> Iterator[subprocess.Popen[bytes]]:
    process = server.begin("worker", "start", "--pool", "nightdrop", "--type", "process")
    try:
        yield process
    finally:
        end(process, signal.SIGTERM)


@pytest.mark.prefect
def test_nights_that_were_missed_are_caught_up_with_one_at_a_time(server, request):
    deliver(server.home, {"2026-11-16/c.jsonl": EVENT, "nodate.jsonl": EVENT})
    late = [server.start("nightly") for _ in range(2)]  # nobody was there to do them
    request.getfixturevalue("worker")
    assert [server.ended(run) for run in late] == ["Completed", "Completed"]
    found = rows(server.home, "SELECT state, events FROM runs ORDER BY started_at")
    assert found == [("done", 1), ("done", 0)]
    with sqlite3.connect(server.database) as db:
        schedules = db.execute("SELECT json_extract(schedule, '$.cron'), active FROM deployment_schedule").fetchall()
        names = [name for (name,) in db.execute("SELECT name FROM task_run").fetchall()]
        told = " ".join(str(row) for row in db.execute("SELECT data FROM artifact").fetchall())
    db.close()
    assert schedules == [("30 2 * * *", 1)]
    server.wait(server.scheduled)  # the nights to come
    assert "load" in names
    assert "no_business_date" in told
    assert "Secret" not in told
    for name in ("nightly", "rerun", "withdraw", "release"):
        fields = server.client.get(f"/deployments/name/{name}/{name}").json()["parameter_openapi_schema"]["properties"]
        assert all(field["description"] for field in fields.values())
    # What a person does from the page, with parameters that are looked at before anything begins.
    for name, wrong in (
        ("withdraw", {}),
        ("withdraw", {"target": ""}),
        ("nightly", {"only_date": "tomorrow"}),
        ("release", {"path": "nodate.jsonl", "business_date": "soon"}),
    ):
        assert server.start(name, **wrong).status_code in (409, 422)
    released = server.start("release", path="nodate.jsonl", business_date="2026-11-17")
    assert server.ended(released) == "Completed"
    assert server.ended(server.start("withdraw", target="2026-11-16")) == "Completed"
    assert rows(server.home, "SELECT path, status FROM drops ORDER BY path") == [
        ("2026-11-16/c.jsonl", "withdrawn"),
        ("nodate.jsonl", "applied"),
    ]
    assert server.ended(server.start("withdraw", target="2026-11-16")) == "Failed"  # it is withdrawn already
    assert server.ended(server.start("rerun", target="2026-11-16/c.jsonl")) == "Completed"
    assert rows(server.home, "SELECT DISTINCT status FROM drops") == [("applied",)]
    # What is left to the interpreter's end is told there by DuckDB's binding.
    assert "leaked" not in Path(server.log.name).read_text(errors="replace")


@pytest.mark.long
@pytest.mark.prefect
def test_a_night_that_is_due_by_the_clock_is_done(server, worker):
    deliver(server.home, {"2026-11-18/clock.jsonl": EVENT.replace(b'"C1"', b'"C18"')})
    nightly = server.client.get("/deployments/name/nightly/nightly").json()["id"]
    every_minute = [{"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}]
    (made,) = server.client.post(f"/deployments/{nightly}/schedules", json=every_minute).json()
    try:
        found = "SELECT count(*) FROM clients WHERE client_id = 'C18'"
        server.wait(lambda: server.home.warehouse.exists() and rows(server.home, found) == [(1,)], seconds=240)
    finally:
        server.client.delete(f"/deployments/{nightly}/schedules/{made['id']}")


@pytest.mark.prefect
def test_a_run_that_died_with_its_worker_is_shown_as_crashed_by_the_next(server):
    (server.home.root / "nightdrop.toml").write_text("chunk_bytes = 1\n")  # a line at a time, so that there is time to be killed
    many = b"".join(EVENT.replace(b'"C1"', b'"K%d"' % number) for number in range(3000))
    deliver(server.home, {"2026-11-19/many.jsonl": many})
    worker = server.begin("worker", "start", "--pool", "nightdrop", "--type", "process")
    try:
        killed = server.start("nightly")
        server.wait(lambda: server.state(killed) == "At work")
        server.wait((server.home.state / "unfinished.json").exists)
        holder = server.wait(lambda: holder_of(server.home))
    finally:
        end(worker, signal.SIGKILL)
    with suppress(ProcessLookupError):  # its worker may have taken it along
        os.kill(holder.pid, signal.SIGKILL)
    assert server.state(killed) == "At work"  # nobody is left to say otherwise
    (server.home.root / "nightdrop.toml").unlink()
    next_one = server.start("nightly")
    worker = server.begin("worker", "start", "--pool", "nightdrop", "--type", "process")
    try:
        assert server.ended(next_one) == "Completed"
    finally:
        end(worker, signal.SIGTERM)
    assert server.state(killed) == "Crashed"
    assert rows(server.home, "SELECT state FROM runs ORDER BY started_at")[-2:] == [("died",), ("done",)]
    assert rows(server.home, "SELECT count(*) FROM clients WHERE client_id LIKE 'K%'") == [(3000,)]
