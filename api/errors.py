"""What the API answers when it does not do what was asked: one shape, one table of codes, no stack trace.

ApiError     an answer other than success: status, code, message, and the reasons under `errors`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CODES = {
    403: ("92", "no valid key, or a key that may only read"),
    404: ("04", "no such client, or no such address"),
    405: ("05", "the address does not take this method"),
    408: ("08", "the request did not arrive in time"),
    409: ("90", "a conflict: the reference is taken or deleted, or the Idempotency-Key came with another request"),
    413: ("13", "the body is too large"),
    415: ("15", "the body is not application/json"),
    422: ("22", "the request is understood and refused; the reasons are under `errors`"),
    429: ("29", "too many requests with this key; see Retry-After"),
    500: ("50", "the server failed; its operator finds the request id in the log"),
    503: ("53", "not possible at the moment; nothing was written unless the message says so"),
    504: ("54", "not done in time; a write may still have been taken: repeat it with its Idempotency-Key"),
}
"""Status -> code and what it means; success is code 00."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why a request is refused: a code of the rule catalogue, and the field of the API it is about."""

    code: str
    field: str | None
    value: str | None
    message: str

    def told(self) -> dict[str, str | None]:
        """Return it as an answer shows it."""
        return {"code": self.code, "field": self.field, "value": self.value, "message": self.message}


class ApiError(Exception):
    """An answer other than success."""

    def __init__(
        self, status: int, message: str, reasons: Sequence[Reason] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.reasons, self.headers = status, message, tuple(reasons), dict(headers or {})

    def body(self) -> dict[str, object]:
        """Return the JSON of the answer."""
        return {"message": self.message, "code": CODES[self.status][0], "errors": [reason.told() for reason in self.reasons]}
