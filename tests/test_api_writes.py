"""What a write promises: on disk before it is answered, exactly once, in one order, whatever dies; and read back by the law."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import PERSON, Server, journal_lines, served, until
from checked import create, line
from homes import assert_same, deliver, home_in, night, rows, tables
from oracle import expected

from api.journal import Journal, JournalError
from api.service import Service
from pipelines.home import Home, Settings
from pipelines.journals import journal_path


def today() -> date:
    return datetime.now(UTC).date()


def journal_of(home: Home) -> Path:
    return home.inbox / journal_path(today())


def shown(api: httpx.Client) -> dict[str, dict[str, Any]]:
    """Return every living client that the API lists, by reference."""
    found: dict[str, dict[str, Any]] = {}
    page: int | None = 1
    while page:
        body = api.get("/v1/clients", params={"page": page, "perPage": 7}).json()
        found |= {client["clientRef"]: client for client in body["data"]}
        page = body["pagination"]["nextPage"]
    return found


def test_the_same_key_and_request_is_one_event_also_after_a_restart(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    once = {"Idempotency-Key": "order 66"}
    with served(home) as server, server.client() as api:
        secret = api.headers["Authorization"].removeprefix("Bearer ")
        first = api.post("/v1/clients", json=PERSON, headers=once)
        assert first.status_code == 201
        assert api.post("/v1/clients", json=PERSON, headers=once).content == first.content
        other = api.post("/v1/clients", json={**PERSON, "city": "X"}, headers=once)
        assert (other.status_code, other.json()["code"]) == (409, "90")
        with server.client() as another:
            assert another.post("/v1/clients", json=PERSON, headers=once).json()["data"]["id"] != first.json()["data"]["id"]
        client_id = first.json()["data"]["id"]
        gone = api.delete(f"/v1/clients/{client_id}", headers={"Idempotency-Key": "end"})
        server.kill()
    with served(home) as server, server.client(secret) as api:
        again = api.post("/v1/clients", json=PERSON, headers=once)
        assert (again.status_code, again.content) == (201, first.content)
        assert api.delete(f"/v1/clients/{client_id}", headers={"Idempotency-Key": "end"}).content == gone.content
    assert len(journal_lines(home)) == 3


def test_many_repeats_at_once_are_one_event(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with served(home) as server, server.client() as api, ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(api.post, "/v1/clients", json=PERSON, headers={"Idempotency-Key": "k"}) for _ in range(16)]
        assert len({answer.result().content for answer in asked}) == 1
    assert len(journal_lines(home)) == 1


def test_a_crash_between_append_and_answer_leaves_one_event_and_one_before_it_leaves_none(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with served(home) as server, server.client() as api:
        secret = api.headers["Authorization"].removeprefix("Bearer ")
        done = api.post("/v1/clients", json=PERSON, headers={"Idempotency-Key": "done"})
        api.post("/v1/clients", json=PERSON, headers={"Idempotency-Key": "torn"})
        server.kill()
    # As if it had been killed while the second line was written: its intent is on disk, its line is not whole.
    data = journal_of(home).read_bytes()
    journal_of(home).write_bytes(data[:-20])
    with served(home) as server, server.client(secret) as api:
        assert api.post("/v1/clients", json=PERSON, headers={"Idempotency-Key": "done"}).content == done.content
        assert len(shown(api)) == 1
        assert api.post("/v1/clients", json=PERSON, headers={"Idempotency-Key": "torn"}).status_code == 201
        assert "torn last line" in server.log.read_text()
    assert len(journal_lines(home)) == 2


def _write_on(server: Server, secret: str, number: int, acknowledged: dict[str, bytes], ending: threading.Event) -> None:
    with server.client(secret) as api:
        for count in range(10_000):
            if ending.is_set():
                return
            reference = f"w{number}-{count}"
            try:
                answer = api.post("/v1/clients", json={**PERSON, "clientRef": reference})
                assert answer.status_code == 201, answer.text
                acknowledged[reference] = answer.content
                if count % 3 == 0:
                    answer = api.patch(f"/v1/clients/{reference}", json={**PERSON, "city": f"city {count}"})
                    assert answer.status_code == 200, answer.text
                    acknowledged[reference] = answer.content
            except httpx.TransportError:
                return


def test_a_server_that_is_killed_under_many_writers_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    acknowledged: dict[str, bytes] = {}
    secret = None
    for kill in range(2):
        with served(home, "--rate", "100000") as server:
            if secret is None:
                with server.client() as api:
                    secret = api.headers["Authorization"].removeprefix("Bearer ")
            ending = threading.Event()
            writers = [
                threading.Thread(target=_write_on, args=(server, secret, kill * 100 + number, acknowledged, ending))
                for number in range(12)
            ]
            for writer in writers:
                writer.start()
            time.sleep(1.5)
            server.kill()
            ending.set()
            for writer in writers:
                writer.join()
    events = journal_lines(home)
    creates = [event["data"]["client_id"] for event in events if event["data"]["step"] == "create"]
    assert len(creates) == len(set(creates)) and acknowledged.keys() <= set(creates) and len(acknowledged) > 20
    with served(home) as server, server.client(secret) as api:
        before = shown(api)
        for reference, answer in acknowledged.items():
            # A later write of the same client may have been journalled and not answered.
            last = json.loads(answer)["data"]
            assert before[reference]["city"] in (last["city"], _last_city(events, reference))
        night(home)
        assert_same(tables(home), expected({journal_path(today()): journal_of(home).read_bytes()}))
        stand = {row[0]: row[1] for row in rows(home, "SELECT client_id, city FROM active_clients")}
        assert stand == {reference: client["city"] for reference, client in before.items()}


def _last_city(events: list[dict[str, Any]], reference: str) -> str | None:
    return next(
        (e["data"]["city"] for e in reversed(events) if e["data"]["client_id"] == reference and "city" in e["data"]), None
    )


def test_a_torn_last_line_is_never_served_nor_glued_to_the_next(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with served(home) as server, server.client() as api:
        api.post("/v1/clients", json={**PERSON, "clientRef": "A"})
    whole = journal_of(home).read_bytes()
    journal_of(home).write_bytes(whole + whole[:-1].replace(b'"A"', b'"B"'))
    with served(home) as server, server.client() as api:
        assert shown(api).keys() == {"A"}
        api.post("/v1/clients", json={**PERSON, "clientRef": "C"})
        night(home)
        assert rows(home, "SELECT client_id FROM clients ORDER BY 1") == [("A",), ("C",)]


def test_yesterdays_writes_that_no_run_has_seen_still_show(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with served(home) as server, server.client() as api:
        api.post("/v1/clients", json={**PERSON, "clientRef": "A"})
    yesterday = home.inbox / journal_path(today() - timedelta(days=1))
    yesterday.parent.mkdir()
    journal_of(home).rename(yesterday)
    with served(home) as server, server.client() as api:
        assert api.get("/v1/clients/A").json()["data"]["created_at"] == str(today() - timedelta(days=1))
        changed = api.patch("/v1/clients/A", json={**PERSON, "city": "X"}).json()["data"]
        assert (changed["created_at"], changed["updated_at"]) == (str(today() - timedelta(days=1)), str(today()))
        night(home)
        assert rows(home, "SELECT client_id, city, created_on, updated_on FROM clients") == [
            ("A", "X", today() - timedelta(days=1), today())
        ]


def test_a_journal_that_was_taken_out_of_the_inbox_is_put_back_before_new_lines(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with served(home) as server, server.client() as api:
        api.post("/v1/clients", json={**PERSON, "clientRef": "A"})
        night(home)
        journal_of(home).unlink()
        answer = api.post("/v1/clients", json={**PERSON, "clientRef": "B"})
        assert (answer.status_code, answer.json()["code"]) == (503, "53")
    with served(home) as server, server.client() as api:
        assert api.post("/v1/clients", json={**PERSON, "clientRef": "B"}).status_code == 201
    night(home)
    assert rows(home, "SELECT client_id FROM clients ORDER BY 1") == [("A",), ("B",)]


def test_a_disk_that_refuses_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.append(today(), [b"{}\n"])
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(JournalError, match="No space"):
        journal.append(today(), [b"[]\n"])
    monkeypatch.undo()
    assert journal.place(today()) == (3, 1)
    journal.append(today(), [b"0\n"])
    journal.close()
    assert (tmp_path / journal_path(today())).read_bytes() == b"{}\n0\n"


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_run_takes_a_growing_journal_up_to_a_whole_line_while_many_write(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    acknowledged: dict[str, bytes] = {}
    ending = threading.Event()
    with served(home, "--rate", "100000") as server:
        with server.client() as api:
            secret = api.headers["Authorization"].removeprefix("Bearer ")
        writers = [threading.Thread(target=_write_on, args=(server, secret, n, acknowledged, ending)) for n in range(6)]
        for writer in writers:
            writer.start()
        counts = []
        for _ in range(3):
            night(home)
            counts += rows(home, "SELECT count(*) FROM clients")
            assert rows(home, "SELECT count(*) FROM drops WHERE status = 'held'") == [(0,)]
        ending.set()
        for writer in writers:
            writer.join()
        night(home)
        assert counts == sorted(counts)
        assert rows(home, "SELECT count(*) FROM clients") == [(len(acknowledged),)]
        time.sleep(1)
        with server.client(secret) as api:
            assert shown(api).keys() == acknowledged.keys()


def test_a_withdrawn_journal_is_gone_and_no_write_brings_it_back_unasked(tmp_path: Path) -> None:
    from pipelines import acts

    home = home_in(tmp_path)
    with served(home) as server, server.client() as api:
        api.post("/v1/clients", json={**PERSON, "clientRef": "A"})
        night(home)
        acts.withdraw(home, Settings(), journal_path(today()))
        until(lambda: not shown(api))
        answer = api.post("/v1/clients", json={**PERSON, "clientRef": "B"})
        assert (answer.status_code, answer.json()["code"]) == (503, "53") and "withdrawn" in answer.json()["message"]
        acts.rerun(home, Settings(), journal_path(today()))
        until(lambda: "A" in shown(api))
        assert api.post("/v1/clients", json={**PERSON, "clientRef": "B"}).status_code == 201
        assert shown(api).keys() == {"A", "B"}


def test_a_journal_that_a_person_edited_takes_the_place_of_the_one_in_the_warehouse(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    with served(home) as server, server.client() as api:
        for reference in ("A", "B"):
            api.post("/v1/clients", json={**PERSON, "clientRef": reference})
        night(home)
    first, second = journal_of(home).read_bytes().splitlines(keepends=True)
    journal_of(home).write_bytes(second.replace(b"Nairobi", b"Mombasa") + first.replace(b'"A"', b'"C"'))
    with served(home) as server, server.client() as api:
        seen = shown(api)
        assert seen.keys() == {"B", "C"} and seen["B"]["state"] == "Mombasa"
        api.delete("/v1/clients/C")
        assert shown(api).keys() == {"B"}
        night(home)
        assert rows(home, "SELECT client_id FROM active_clients") == [("B",)]


# --- the law ---------------------------------------------------------------------------------------------------------


def _assert_reads_equal_the_law(home: Home, api: httpx.Client) -> None:
    """Compare what the API shows with the oracle over everything that lies in the inbox: drops and journals."""
    drops = {file.relative_to(home.inbox).as_posix(): file.read_bytes() for file in home.inbox.rglob("*.jsonl")}
    law = expected(drops)
    wanted = {row[0]: row for row in law["clients"] if row[-1] is None}
    seen = shown(api)
    assert seen.keys() == wanted.keys()
    for reference, client in seen.items():
        row = wanted[reference]
        told = (client["name"], client["email"], client["city"], client["created_at"], client["updated_at"])
        assert told == (row[1], row[2], row[16], str(row[-3]), str(row[-2])), reference
        loans = [loan["loanId"] for loan in api.get(f"/v1/clients/{reference}/loans").json()["data"]]
        assert loans == [loan[0] for loan in law["loans"] if loan[1] == reference]


def test_drops_and_writes_mixed_read_by_the_law_before_and_after_every_run(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    chance = random.Random(7)
    names = [f"C{number}" for number in range(6)]
    days = [today() + timedelta(days=shift) for shift in (-1, 0, 1)]
    with served(home, "--rate", "100000") as server, server.client() as api:
        for turn in range(5):
            for day in days:
                events = [_any_event(chance, names) for _ in range(8)]
                deliver(home, {f"core/{day}/turn-{turn}.jsonl": b"".join(events)})
            night(home)
            server_sees(home, api)
            _assert_reads_equal_the_law(home, api)
            for _ in range(6):
                _any_write(chance, names, api)
            _assert_reads_equal_the_law(home, api)
        assert "Until then" not in server.log.read_text()  # the event log had everything that deciding again needs
    night(home)
    drops = {file.relative_to(home.inbox).as_posix(): file.read_bytes() for file in home.inbox.rglob("*.jsonl")}
    assert_same({name: table for name, table in tables(home).items() if name != "drops"}, _without_drops(expected(drops)))


def _without_drops(law: Any) -> Any:
    return type(law)({name: table for name, table in law.items() if name != "drops"})


def server_sees(home: Home, api: httpx.Client) -> None:
    """Wait until the server reads the newest publication."""
    time.sleep(1.0)


def _any_event(chance: random.Random, names: list[str]) -> bytes:
    name = chance.choice(names)
    kind = chance.choice(["create", "update", "update", "delete", "loan", "loan"])
    if kind == "create":
        return line("client", create("client", client_id=name, name=f"File {chance.random():.3f}"))
    if kind == "update":
        return line("client", {"step": "update", "client_id": name, "city": f"city {chance.random():.3f}"})
    if kind == "delete" and chance.random() < 0.3:
        return line("client", {"step": "delete", "client_id": name})
    return line("loan", create("loan", loan_id=f"L{chance.randrange(9)}", client_id=name))


def _any_write(chance: random.Random, names: list[str], api: httpx.Client) -> None:
    name = chance.choice(names)
    city = {"city": f"api {chance.random():.3f}"}
    kind = chance.choice(["post", "patch", "patch", "patch", "delete"])
    if kind == "post":
        api.post("/v1/clients", json={**PERSON, **city, "clientRef": name})
    elif kind == "patch":
        api.patch(f"/v1/clients/{name}", json={**PERSON, **city, "email": "api@example.com"})
    elif chance.random() < 0.3:
        api.delete(f"/v1/clients/{name}")


def test_the_api_never_opens_the_working_warehouse_and_a_run_never_waits_for_it(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    night(home)
    service = Service(home, Settings())
    service.start()
    try:
        night(home, {"core/2026-11-16/c.jsonl": line("client", create("client"))})
        opened = {link.resolve().name for link in Path("/proc/self/fd").iterdir()}
        assert "warehouse.duckdb" not in opened
        assert service.follow() or service.records.client("C1") is not None
    finally:
        service.stop()


@pytest.mark.parametrize("link", ["file", "folder"])
def test_no_write_goes_through_a_link_out_of_the_inbox(tmp_path: Path, link: str) -> None:
    home = home_in(tmp_path / "home")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "api.jsonl").write_bytes(b"somebody's file, without a line end")
    if link == "folder":
        journal_of(home).parent.symlink_to(outside)
    else:
        journal_of(home).parent.mkdir()
        journal_of(home).symlink_to(outside / "api.jsonl")
    journal = Journal(home.inbox)
    assert list(journal.days()) == []
    journal.mend()
    with pytest.raises(JournalError, match="symlink that leads out of the inbox; nothing was written"):
        journal.append(today(), [b"{}\n"])
    assert [file.read_bytes() for file in outside.iterdir()] == [b"somebody's file, without a line end"]


def test_no_write_goes_through_a_link_at_all(tmp_path: Path) -> None:
    home = home_in(tmp_path / "home")
    journal_of(home).parent.mkdir()
    other = home.inbox / "2020-01-01.jsonl"
    other.write_bytes(b"a drop")
    journal_of(home).symlink_to(other)
    with pytest.raises(JournalError, match="nothing was written"):
        Journal(home.inbox).append(today(), [b"{}\n"])
    assert other.read_bytes() == b"a drop"
