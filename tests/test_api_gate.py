"""What goes wrong inside the server is answered in the one shape, in time, and without a word about its inside."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_server import PERSON
from homes import home_in, night

from api.app import application
from api.keys import Keys
from api.limits import Limits, Rates
from api.service import Service
from pipelines.home import Settings


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    home = home_in(tmp_path)
    night(home)
    service = Service(home, Settings())
    service.start()
    yield service
    service.stop()


def ask(service: Service, limits: Limits, method: str, path: str, **options: Any) -> httpx.Response:
    """Ask the application itself, with a valid key."""
    keys = Keys(service.home.state / "api" / "keys.json")
    headers = {"Authorization": f"Bearer {keys.new('asking')}", "Content-Type": "application/json"}

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(application(service, keys, limits))
        async with httpx.AsyncClient(transport=transport, base_url="http://server", headers=headers) as api:
            return await api.request(method, path, **options)

    return asyncio.run(answer())


def test_a_failure_within_is_a_500_that_names_the_request_and_nothing_else(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(reference: str) -> None:
        raise RuntimeError(f"no client {reference}")

    monkeypatch.setattr(service.records, "client", broken)
    with caplog.at_level(logging.INFO):
        answer = ask(service, Limits(), "GET", "/v1/clients/Byron")
    assert (answer.status_code, answer.json()["code"], answer.json()["errors"]) == (500, "50", [])
    assert answer.headers["x-request-id"] in answer.json()["message"] and "Traceback" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text and not [
        each for each in caplog.records if each.name != "httpx" and "Byron" in each.getMessage()
    ]
    assert "Byron" not in answer.text


def test_a_failure_while_writing_is_answered_and_the_next_write_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(service.records, "take", broken)
        assert ask(service, Limits(), "POST", "/v1/clients", json={**PERSON, "clientRef": "A"}).status_code == 500
    Keys(service.home.state / "api" / "keys.json").revoke("asking")
    # Its line was on disk: it is an event, and it shows.
    again = ask(service, Limits(), "POST", "/v1/clients", json={**PERSON, "clientRef": "A"})
    assert (again.status_code, again.json()["code"]) == (409, "90")


def test_a_body_that_does_not_arrive_is_given_up(service: Service) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    answer = ask(service, Limits(body_seconds=0.2), "POST", "/v1/clients", content=slow())
    assert (answer.status_code, answer.json()["code"]) == (408, "08")


def test_a_call_that_takes_too_long_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.records, "client", lambda _: time.sleep(4))
    started = time.monotonic()
    answer = ask(service, Limits(seconds=0.2), "GET", "/v1/clients/C1")
    assert time.monotonic() - started < 3
    assert (answer.status_code, answer.json()["code"]) == (504, "54")


def test_a_bucket_fills_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    rates = Rates(2)
    assert [rates.wait("k") for _ in range(4)] == [0, 0, 0, 0]
    assert rates.wait("k") == pytest.approx(0.5)
    assert rates.wait("another") == 0
    now[0] += 0.5
    assert rates.wait("k") == 0
