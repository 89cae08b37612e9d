"""What every request passes: an id, a time limit, a line in the log, and one shape for whatever goes wrong.

The log names the route, never the address: search terms and references are people's data.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
import uuid
from datetime import UTC, datetime

import orjson
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError
from api.limits import Limits

_ACCESS = logging.getLogger("nightdrop.access")
_LOG = logging.getLogger("nightdrop.api")
_SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
]


class Gate:
    """The ASGI application around the calls."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and see to it that it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started = uuid.uuid4().hex, time.perf_counter()
        # A reference may hold an encoded slash: addresses are matched as they were sent.
        scope["path"] = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace")
        scope["nightdrop.request"] = request_id
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *_SAFE]
            await send(message)

        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, receive, send_on)
        except ClientDisconnect:
            status = status or 499
        except Exception as error:  # whoever asked gets an answer, and the log its kind
            if status:  # the answer has begun: nothing more can be said in it
                _LOG.error("request %s: failed within its answer: %s", request_id, type(error).__name__)
            else:
                await answer_error(as_answer(error, request_id))(scope, receive, send_on)
        finally:
            self._log(scope, request_id, status, time.perf_counter() - started)

    def _log(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request": request_id,
            "key": scope.get("nightdrop.key"),
            "method": scope["method"] if scope["method"].isalpha() else "?",
            "route": scope.get("nightdrop.route"),
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        _ACCESS.info(orjson.dumps(line).decode())


def as_answer(error: Exception, request_id: str) -> ApiError:
    """Return what is answered when a call failed; what was not expected is logged with its frames."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, "Not done in time. A write may still have been taken: repeat it with its Idempotency-Key.")
    # The frames without the error's own words, which may hold people's data.
    where = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("request %s: %s\n%s", request_id, type(error).__name__, where)
    return ApiError(500, f"The server failed. Its operator finds the request {request_id} in the log.")


def answer_error(error: ApiError) -> Response:
    """Return the answer that an error is."""
    return Response(orjson.dumps(error.body()), error.status, headers=error.headers, media_type="application/json")
