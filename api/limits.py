"""What one caller may ask for: the limits of a server, and a bucket of tokens a key."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server."""

    body_bytes: int = 4 * 1024 * 1024
    image_bytes: int = 2 * 1024 * 1024
    """Of a picture sent as base64, once it is decoded."""
    rate: float = 200.0
    """Requests a second and key; twice as many at once."""
    body_seconds: float = 10.0
    """How long a body may take to arrive."""
    seconds: float = 30.0
    """How long a request may take, its body included."""


class Rates:
    """A bucket of tokens a key: `rate` flow in a second, twice as many fit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, key: str) -> float:
        """Take a token; return 0, or after how many seconds there will be one. Called from one thread."""
        now = time.monotonic()
        tokens, at = self._buckets.get(key, (2 * self._rate, now))
        tokens = min(2 * self._rate, tokens + (now - at) * self._rate)
        enough = tokens >= 1
        self._buckets[key] = (tokens - enough, now)
        return 0.0 if enough else (1 - tokens) / self._rate
