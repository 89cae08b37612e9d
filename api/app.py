"""The eight calls over HTTP. Every answer is JSON of one shape; whoever calls needs a key."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api import composing, presenting
from api.document import DOCUMENT, ONCE_FORM
from api.errors import ApiError, Reason
from api.gate import Gate, answer_error, as_answer
from api.keys import Key, Keys
from api.limits import Limits, Rates
from api.pages import docs_page
from api.repeats import digest
from api.service import Service
from api.writing import Write
from validation.entities import ENTITIES

T = TypeVar("T")
PER_PAGE, MOST_PER_PAGE, LAST_PAGE = 15, 500, 2_147_483_647
_READERS, _SEARCHERS = 8, 2


class Calls:
    """What the addresses answer."""

    def __init__(self, service: Service, keys: Keys, limits: Limits) -> None:
        self._service, self._keys, self._limits = service, keys, limits
        self._rates = Rates(limits.rate)
        self._readers = CapacityLimiter(_READERS)
        self._searchers = CapacityLimiter(_SEARCHERS)  # a search looks at every client: it shall not keep the others waiting

    async def list_clients(self, request: Request) -> Response:
        """GET /v1/clients: the living clients by their references, or those that match `search`."""
        self._caller(request)
        page, per_page = paging(request)
        return await self._clients(request.query_params.get("search"), page, per_page)

    async def one_or_search(self, request: Request) -> Response:
        """GET /v1/clients/{ref}: the client of that reference, else the clients that match the term."""
        self._caller(request)
        term, (page, per_page) = _named(request), paging(request)
        record = await self._read(partial(self._service.records.client, term))
        if record is not None:
            return _found("Client found.", presenting.client(record))
        return await self._clients(term, page, per_page)

    async def loans(self, request: Request) -> Response:
        """GET /v1/clients/{ref}/loans."""
        return await self._of_client(request, "loan")

    async def deposits(self, request: Request) -> Response:
        """GET /v1/clients/{ref}/deposits."""
        return await self._of_client(request, "deposit")

    async def create(self, request: Request) -> Response:
        """POST /v1/clients."""
        key = self._caller(request, writes=True)
        raw = await self._body(request)
        body = composing.body_of(raw)
        sent = body.get(composing.REFERENCE)
        client_id = sent if type(sent) is str else str(uuid.uuid4())
        compose = partial(composing.create, body, client_id, self._limits.image_bytes)
        return await self._write(request, key, raw, Write(client_id, lambda _: compose(), 201, "Client created."))

    async def update(self, request: Request) -> Response:
        """PATCH /v1/clients/{ref}."""
        key = self._caller(request, writes=True)
        raw = await self._body(request)
        body, client_id = composing.body_of(raw), _named(request)
        most = self._limits.image_bytes
        write = Write(client_id, lambda record: composing.update(body, client_id, record, most), 200, "Client updated.")
        return await self._write(request, key, raw, write)

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/clients/{ref}."""
        key = self._caller(request, writes=True)
        client_id = _named(request)
        write = Write(client_id, lambda _: composing.delete(client_id), 200, "Client deleted.")
        return await self._write(request, key, b"", write)

    # --- within ---

    def _caller(self, request: Request, *, writes: bool = False) -> Key:
        """Return the caller's key. Raises ApiError 403 without a valid one, 429 when it asks too often."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        key = self._keys.holder(secret.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise ApiError(403, "A valid key is needed: Authorization: Bearer <secret key>.")
        request.scope["nightdrop.key"] = key.name
        if wait := self._rates.wait(key.id):
            told = f"Too many requests with this key; {self._limits.rate:g} a second are taken."
            raise ApiError(429, told, headers={"Retry-After": str(int(wait) + 1)})
        if writes and key.read_only:
            raise ApiError(403, "This key may only read.")
        return key

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, "The body must be JSON: Content-Type: application/json.")
        too_large = ApiError(
            413, f"The body is over {self._limits.body_bytes:,} bytes; nothing was written.", headers={"Connection": "close"}
        )
        said = request.headers.get("content-length", "0")
        if said.isdigit() and int(said) > self._limits.body_bytes:
            raise too_large
        pieces, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for piece in request.stream():
                    size += len(piece)
                    if size > self._limits.body_bytes:
                        raise too_large
                    pieces.append(piece)
        except TimeoutError:
            told = f"The body did not arrive in {self._limits.body_seconds:g} seconds; nothing was written."
            raise ApiError(408, told, headers={"Connection": "close"}) from None
        return b"".join(pieces)

    async def _read(self, work: Callable[[], T], *, search: bool = False) -> T:
        return await to_thread.run_sync(work, limiter=self._searchers if search else self._readers, abandon_on_cancel=True)

    async def _clients(self, term: str | None, page: int, per_page: int) -> Response:
        records = self._service.records
        total, found = await self._read(partial(records.page, term or None, per_page, (page - 1) * per_page), search=bool(term))
        shown = [presenting.client(record) for record in found]
        return _found("Clients found." if total else "No client found.", shown, pagination(page, per_page, total))

    async def _of_client(self, request: Request, category: str) -> Response:
        self._caller(request)
        page, per_page = paging(request)
        client_id, records = _named(request), self._service.records
        if await self._read(partial(records.client, client_id)) is None:
            told = f'client "{client_id[:80]}" was never created'
            raise ApiError(404, "There is no such client.", [Reason("client_unknown", "clientRef", client_id, told)])
        total, found = await self._read(partial(records.of_client, category, client_id, per_page, (page - 1) * per_page))
        shown = [presenting.row(ENTITIES[category], record) for record in found]
        return _found(f"{category.capitalize()}s of the client.", shown, pagination(page, per_page, total))

    async def _write(self, request: Request, key: Key, raw: bytes, write: Write) -> Response:
        said = request.headers.get("idempotency-key")
        if said is not None:
            if not re.search(ONCE_FORM, said):
                told = "Idempotency-Key must be 1 to 255 visible ASCII characters, spaces within"
                raise ApiError(
                    422, "The request is refused; nothing was written.", [Reason("invalid_id", "Idempotency-Key", None, told)]
                )
            asked = digest(request.method.encode(), request.scope["path"].encode(), raw)
            write.repeat = digest(key.id.encode(), said.encode("latin-1")), asked
        status, body = await asyncio.shield(asyncio.wrap_future(self._service.writer.submit(write)))
        return Response(body, status, media_type="application/json")


def paging(request: Request) -> tuple[int, int]:
    """Return page and perPage. Raises ApiError 422 that says the range."""
    reasons, found = [], []
    for name, default, most in (("page", 1, LAST_PAGE), ("perPage", PER_PAGE, MOST_PER_PAGE)):
        said = request.query_params.getlist(name)
        text = said[0] if len(said) == 1 else ""
        good = len(text) <= 10 and text.isascii() and text.isdigit() and 1 <= int(text) <= most
        if said and not good:
            reasons.append(Reason("invalid_amount", name, text or None, f"{name} must be a whole number from 1 to {most}"))
        found.append(int(text) if good else default)
    if reasons:
        raise ApiError(422, "The request is refused: " + "; ".join(reason.message for reason in reasons) + ".", reasons)
    return found[0], found[1]


def pagination(page: int, per_page: int, total: int) -> dict[str, int | None]:
    """Return what an answer says of its page."""
    pages = -(-total // per_page)
    return {
        "currentPage": page,
        "perPage": per_page,
        "totalCount": total,
        "totalPages": pages,
        "previousPage": min(page - 1, pages) if page > 1 and pages else None,
        "nextPage": page + 1 if page < pages else None,
    }


def application(service: Service, keys: Keys, limits: Limits) -> Gate:
    """Return the ASGI application."""
    app = FastAPI(title="nightdrop", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    calls = Calls(service, keys, limits)
    one = "/v1/clients/{ref}"
    routes: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
        ("GET", "/v1/clients", calls.list_clients),
        ("POST", "/v1/clients", calls.create),
        ("GET", one, calls.one_or_search),
        ("PATCH", one, calls.update),
        ("DELETE", one, calls.delete),
        ("GET", f"{one}/loans", calls.loans),
        ("GET", f"{one}/deposits", calls.deposits),
        ("GET", "/openapi.json", _document),
        ("GET", "/docs", _docs),
    ]
    by_path: dict[str, dict[str, Callable[[Request], Awaitable[Any]]]] = {}
    for method, path, call in routes:
        by_path.setdefault(path, {})[method] = call
    for path, methods in by_path.items():
        app.add_route(path, _by_method(path, methods), methods=list(methods), include_in_schema=False)
    app.add_exception_handler(HTTPException, _not_routed)
    return Gate(app, limits)


def _by_method(path: str, calls: dict[str, Callable[[Request], Awaitable[Any]]]) -> Callable[[Request], Awaitable[Any]]:
    async def answer(request: Request) -> Response:
        request.scope["nightdrop.route"] = path
        try:
            if request.method not in calls:
                raise HTTPException(405, headers={"Allow": ", ".join(sorted(calls))})
            response: Response = await calls[request.method](request)
        except (HTTPException, ClientDisconnect):
            raise
        except Exception as error:  # nothing else is answered by the framework, in its own shape
            return answer_error(as_answer(error, str(request.scope["nightdrop.request"])))
        return response

    return answer


async def _not_routed(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = ", ".join(sorted(set((error.headers or {}).get("Allow", "").split(", ")) - {"HEAD", ""}))
        return answer_error(ApiError(405, f"This address takes {allowed}.", headers={"Allow": allowed}))
    return answer_error(ApiError(404, "There is nothing at this address; see /docs."))


async def _document(_: Request) -> Response:
    return Response(presenting.to_json(DOCUMENT), media_type="application/json")


async def _docs(_: Request) -> Response:
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(docs_page(), media_type="text/html; charset=utf-8", headers=headers)


def _named(request: Request) -> str:
    """Return what the address names; the gate leaves it percent-encoded, so that a reference may have a slash."""
    return unquote(request.path_params["ref"], errors="replace")


def _found(message: str, data: object, pages: dict[str, int | None] | None = None) -> Response:
    content: dict[str, object] = {"responseCode": "00", "message": message, "data": data}
    if pages is not None:
        content["pagination"] = pages
    return Response(presenting.to_json(content), media_type="application/json")
