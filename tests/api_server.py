"""A real server of a home in a process of its own, and a real HTTP client with a key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from api.keys import Keys
from pipelines.home import Home

PERSON = {
    "firstName": "Ada",
    "lastName": "Byron",
    "dob": "1990-12-10",
    "address": "1 Main Street, Nairobi, Kenya",
    "state": "Nairobi",
    "country": "Kenya",
}


class Server:
    """One server process."""

    def __init__(self, home: Home, *arguments: str) -> None:
        self.home = home
        self.log = home.root / "server.log"
        command = [sys.executable, "-m", "flows.cli", "--home", str(home.root), "--json", "serve", "--port", "0", *arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.log.read_text()
        self.url = json.loads(said)["url"]

    def client(self, secret: str | None = None, **options: Any) -> httpx.Client:
        """Return a client with a key of its own."""
        secret = secret or Keys(self.home.state / "api" / "keys.json").new(os.urandom(4).hex())
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30, **options)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """End it as its operator would; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        self.process.communicate()
        return self.process.returncode


@contextmanager
def served(home: Home, *arguments: str) -> Iterator[Server]:
    """Serve a home until the block ends."""
    server = Server(home, *arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> float:
    """Wait until something holds; return how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not come true in time"
        time.sleep(0.02)
    return time.monotonic() - started


def journal_lines(home: Home) -> list[dict[str, Any]]:
    """Return the events of all journals, by day and line."""
    files: list[Path] = sorted(home.inbox.glob("*/api.jsonl"))
    return [json.loads(row) for file in files for row in file.read_bytes().splitlines()]
