"""Hooks against real listeners and real programs that are down, slow, wrong or endless: each is given back in words, in time."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import pytest
from test_telling import Listener

from flows import hooks
from flows.hooks import call_hooks
from pipelines.home import Hooks

MESSAGE = {"about": ["held"], "text": "Äcme"}


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    monkeypatch.setattr(hooks, "_PAUSE", 0.05)


def told(**to: Any) -> list[tuple[str, str | None]]:
    return list(call_hooks(Hooks(**to), MESSAGE))


@contextmanager
def line(talk):
    """Listen on loopback and do with the first connection what is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # who called has gone
                connection, _ = server.accept()
                with connection:
                    talk(connection)

        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/secret"
        thread.join()


@pytest.mark.parametrize(("answers", "times", "problem"), [((200,), 1, None), ((503, 204), 2, None), ((429, 500, 502), 3, "502")])
def test_a_listener_that_is_busy_is_asked_again(answers, times, problem):
    with Listener(*answers) as listener:
        [(name, found)] = told(url=listener.url)
    assert listener.bodies == [MESSAGE] * times
    assert (name, found) == ("127.0.0.1", problem and f"it answered {problem}")


@pytest.mark.parametrize("answer", [302, 307, 404, 410])
def test_what_another_try_cannot_mend_is_not_tried_again_and_nobody_is_sent_elsewhere(answer):
    with Listener(answer) as listener:
        assert told(url=listener.url) == [("127.0.0.1", f"it answered {answer}")]
    assert len(listener.bodies) == 1


def test_a_listener_that_is_down_is_told_of():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    assert told(url=url) == [("127.0.0.1", "ConnectError")]


@pytest.mark.parametrize("url", ["http://a..b/x", "http://" + "a" * 300 + "/secret"])
def test_an_address_that_nobody_can_call_is_told_of_without_it(url):
    [(_, problem)] = told(url=url)
    assert problem
    assert "secret" not in problem


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(80):
        time.sleep(0.05)
        connection.sendall(b"x")


def pour(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def test_a_listener_that_never_ends_its_answer_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(hooks, "SECONDS", 1.0)
    for talk, problem in ((drip, "it did not answer in time"), (lambda connection: time.sleep(4), "ReadTimeout")):
        with line(talk) as url:
            began = time.monotonic()
            [(_, found)] = told(url=url)
            took = time.monotonic() - began
        assert found in (problem, "it did not answer in time", "ConnectError")
        assert took < 2


def test_an_endless_answer_is_not_read():
    with line(pour) as url:
        assert told(url=url) == [("127.0.0.1", None)]


def python(words: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", words, *arguments)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (python("import sys; sys.exit(0)"), None),
        (python("import sys; sys.exit(7)"), "it ended with 7"),
        (python("import os; os.kill(os.getpid(), 9)"), "it ended with -9"),
        (("/no/such/program",), "FileNotFoundError"),
        (("/",), "PermissionError"),
        (("a\0b",), "ValueError"),
    ],
)
def test_what_became_of_a_command_is_told(command, problem):
    assert told(command=command) == [(command[0], problem)]


def test_a_command_need_not_read_what_it_is_told():
    found = list(call_hooks(Hooks(command=python("")), MESSAGE | {"text": "x" * 1_000_000}))
    assert found == [(sys.executable, None)]


def test_a_command_that_hangs_is_stopped_with_all_it_started(monkeypatch, tmp_path):
    monkeypatch.setattr(hooks, "SECONDS", 1.0)
    late = tmp_path / "late"
    began = time.monotonic()
    [(_, problem)] = told(command=("/bin/sh", "-c", f"(sleep 2; touch {late}) & sleep 60"))
    assert problem == "it did not end within 1 s and was stopped"
    assert time.monotonic() - began < 5
    time.sleep(1.5)
    assert not late.exists()


def test_what_a_command_prints_is_no_part_of_an_answer(capfd):
    told(command=python("import sys; print('out'); print('why', file=sys.stderr)"))
    assert capfd.readouterr() == ("", "why\n")
