"""How somebody is told: by a URL, by a command. Each takes 20 s at most; what goes wrong is given back, never raised."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from flows.settings import ABOUT_VARIABLE
from pipelines.home import Hooks

SECONDS = 20.0
"""How long a hook may take, its tries together."""
_TRIES = 3
_PAUSE = 1.0
"""Seconds before the second try; twice that before the third."""
_Sent = tuple[str | None, bool]
"""What went wrong, and whether another try may help."""
_BUSY = 429
_SERVER_ERROR = 500


def call_hooks(hooks: Hooks, message: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Hand a message to every hook; yield the name of each, without a secret in it, and what went wrong, if anything did."""
    body = json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace")
    if hooks.url:
        # The rest of an address may be a secret.
        yield urlsplit(hooks.url).hostname or "url", _post(hooks.url, body)
    if hooks.command:
        yield hooks.command[0], _run(hooks.command, body, message["about"])


def _post(url: str, body: bytes) -> str | None:
    """Send the message; return what went wrong, if it did, after some tries."""
    ends = time.monotonic() + SECONDS
    problem: str | None = None
    for number in range(_TRIES):
        time.sleep(_PAUSE * number)
        left = ends - time.monotonic()
        if left <= 0:
            break
        problem, again = _in_time(left, _sent, url, body, left / (_TRIES - number))
        if not again:
            break
    return problem


def _in_time(seconds: float, work: Callable[..., _Sent], *arguments: object) -> _Sent:
    """Return what work gives, or that it took too long: a listener that drips its answer keeps every other time limit."""
    given: list[_Sent] = []
    thread = Thread(target=lambda: given.append(work(*arguments)), daemon=True)
    thread.start()
    thread.join(seconds)
    return given[0] if given else ("it did not answer in time", False)


def _sent(url: str, body: bytes, seconds: float) -> _Sent:
    """Try once."""
    import httpx

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log the address
    try:
        # What it answers is not read: it may be of any size.
        with httpx.stream("POST", url, content=body, headers={"Content-Type": "application/json"}, timeout=seconds) as answer:
            status = answer.status_code
    except httpx.TransportError as error:
        return type(error).__name__, True
    except Exception as error:  # an address that nobody can call; its words may hold the address
        return type(error).__name__, False
    if answer.is_success:
        return None, False
    return f"it answered {status}", status == _BUSY or status >= _SERVER_ERROR


def _run(command: tuple[str, ...], body: bytes, about: list[str]) -> str | None:
    """Run the command with the message on its standard input; return what went wrong, if it did."""
    environment = os.environ | {ABOUT_VARIABLE: " ".join(about)}
    try:
        # A group of its own: what it starts ends with it. Its words go where ours go, but never into an answer in JSON.
        started = subprocess.Popen(  # noqa: S603  # the operator's own
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, start_new_session=True
        )
    except (OSError, ValueError) as error:
        return type(error).__name__
    try:
        started.communicate(body, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"it did not end within {SECONDS:.0f} s and was stopped"
    finally:
        if started.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
    return f"it ended with {started.returncode}" if started.returncode else None
