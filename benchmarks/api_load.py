"""Load on the Clients API from a second process: reads a second and p50/p99 over N clients, writes a second with fsync.

    python benchmarks/api_load.py --clients 1000000 --seconds 10 --home /tmp/api-load

The warehouse is made directly (the reads do not care how it came to be); writes go the whole way to the journal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from api.serving import keys_of
from pipelines import database, schema
from pipelines.home import Home
from pipelines.publishing import publish

_CLIENTS = """
INSERT INTO clients BY NAME SELECT 'C' || lpad(i::VARCHAR, 9, '0') AS client_id, 'Person ' || i AS name,
'person' || i || '@example.com' AS email,
'+2547' || lpad(i::VARCHAR, 8, '0') AS phone, i || ' Main Street, Nairobi, Kenya' AS address,
'KE' AS country, false AS is_company, 'ID-' || i AS registration_number, 'female' AS gender,
DATE '2026-11-16' AS created_on, DATE '2026-11-16' AS updated_on FROM range($n) AS r(i) ORDER BY hash(i)
"""
_LOANS = """
INSERT INTO loans BY NAME SELECT 'L' || i AS loan_id, 'C' || lpad(i::VARCHAR, 9, '0') AS client_id, 1000 AS amount,
'KES' AS currency,
DATE '2026-11-16' AS disbursement_date, DATE '2027-11-16' AS maturity_date, 'active' AS status,
DATE '2026-11-16' AS created_on, DATE '2026-11-16' AS updated_on FROM range($n) AS r(i)
"""
PERSON = {
    "firstName": "Ada",
    "lastName": "Byron",
    "dob": "1990-12-10",
    "address": "1 Main Street, Nairobi, Kenya",
    "state": "Nairobi",
    "country": "KE",
}


def main() -> None:
    """Make the home if it is not there, serve it, and load it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--only", default="", help="only calls with this in their name")
    said = parser.parse_args()
    home = Home(said.home.absolute())
    if not home.warehouse.exists():
        _make(home, said.clients)
    command = [sys.executable, "-m", "flows.cli", "--home", str(home.root), "--json", "serve", "--port", "0", "--rate", "1000000"]
    with (home.root / "server.log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as server:
        try:
            url = json.loads(server.stdout.readline() if server.stdout else b"")["url"]
            secret = keys_of(home).new(f"load {time.time()}")
            asyncio.run(_load(url, secret, said.clients, said.seconds, said.only))
        finally:
            server.terminate()


def _make(home: Home, clients: int) -> None:
    home.inbox.mkdir(parents=True)
    home.state.mkdir(parents=True)
    con = database.connect(home.working)
    schema.create(con)
    for sql in (_CLIENTS, _LOANS):
        con.execute(sql, {"n": clients})
    database.seal(con)
    publish(home.working, home.warehouse)


async def _load(url: str, secret: str, clients: int, seconds: float, only: str) -> None:
    chance = random.Random(1)

    def anyone() -> str:
        return f"C{chance.randrange(clients):09}"

    calls: dict[str, Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]] = {
        "one client by reference": lambda api: api.get(f"/v1/clients/{anyone()}"),
        "a page of 15, anywhere": lambda api: api.get("/v1/clients", params={"page": chance.randrange(1, clients // 15)}),
        "a client's loans": lambda api: api.get(f"/v1/clients/{anyone()}/loans"),
        "a search": lambda api: api.get("/v1/clients", params={"search": f"person{chance.randrange(clients)}@"}),
        "a create": lambda api: api.post("/v1/clients", json=PERSON),
        "an update": lambda api: api.patch(f"/v1/clients/{anyone()}", json={**PERSON, "city": "Nairobi"}),
    }
    print(f"{clients:,} clients\n\n| call | callers | a second | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for name, call in ((name, call) for name, call in calls.items() if only in name):
        for callers in (1, 32):
            taken = await _drive(url, secret, call, callers, seconds)
            taken.sort()
            p50, p99 = (taken[int(len(taken) * share)] * 1000 for share in (0.5, 0.99))
            print(f"| {name} | {callers} | {len(taken) / seconds:,.0f} | {p50:.1f} | {p99:.1f} |", flush=True)


async def _drive(
    url: str, secret: str, call: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]], callers: int, seconds: float
) -> list[float]:
    """Let callers ask, each again as soon as it is answered; return how long each answer took."""
    taken: list[float] = []

    async def ask(api: httpx.AsyncClient, ending: float) -> None:
        while (started := time.perf_counter()) < ending:
            answer = await call(api)
            if answer.status_code not in (200, 201):
                raise RuntimeError(f"{answer.status_code}: {answer.text}")
            taken.append(time.perf_counter() - started)

    limits = httpx.Limits(max_connections=callers)
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {secret}"}, limits=limits, timeout=60) as api:
        ending = time.perf_counter() + seconds
        await asyncio.gather(*(ask(api, ending) for _ in range(callers)))
    return taken


if __name__ == "__main__":
    main()
