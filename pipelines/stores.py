"""The doors to inboxes elsewhere: object stores (`s3://`, `gs://`, `az://`) and `sftp://` with a key."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pipelines.checksums import Checksum, checksum_told
from pipelines.fetching import Gone, Listed, Store
from pipelines.problems import NightdropError

if TYPE_CHECKING:
    import asyncio

    import asyncssh
    from obstore.store import ObjectStore

T = TypeVar("T")
_PIECE = 1 << 20
_MD5 = re.compile("[0-9a-f]{32}")
_CONNECT_SECONDS = 30
_SIGNED_FOR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RemoteInbox:
    """An inbox elsewhere; what it has lands in `<inbox>/<name>/`."""

    name: str
    url: str
    key: str | None = None
    """sftp: the file of the private key."""
    known_hosts: str | None = None
    """sftp: the file of the hosts whose keys are known; none is trusted beyond."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Object stores: what their library takes (`endpoint`, `region` …); secrets come from the environment."""
    checksum: bool = True
    """Whether a copy is held to the store's checksum; under encryption with keys of one's own S3's and Google's tags are none."""


@contextmanager
def opened(inbox: RemoteInbox) -> Iterator[Store]:
    """Open an inbox elsewhere; raises NightdropError that names it when it cannot be reached."""
    if urlsplit(inbox.url).scheme == "sftp":
        with _Sftp.connected(inbox) as store:
            yield store
    else:
        yield _Objects(inbox)


class _Objects:
    """A prefix of an object store."""

    def __init__(self, inbox: RemoteInbox) -> None:
        from obstore.store import from_url

        self._inbox = inbox
        self._scheme = urlsplit(inbox.url).scheme
        options: dict[str, Any] = dict(inbox.options)
        # What the operator wrote out as http:// is meant so.
        if any(value.startswith("http://") for value in inbox.options.values()):
            options["client_options"] = {"allow_http": True}
        with self._named():
            self._store: ObjectStore = from_url(inbox.url, **options)

    @contextmanager
    def _named(self) -> Iterator[None]:
        from obstore.exceptions import BaseError, NotFoundError, PreconditionError

        try:
            yield
        except (PreconditionError, NotFoundError, FileNotFoundError) as error:
            raise Gone from error
        except (BaseError, OSError, ValueError) as error:
            # What stands behind the question mark of an address may be a signature.
            words = re.sub(r"\?\S*", "", str(error).strip().partition("\n")[0])[:300]
            raise NightdropError(f"inbox {self._inbox.name} ({self._inbox.url}): {words}") from error

    def files(self) -> list[Listed]:
        import obstore

        try:
            with self._named():
                return [self._listed(meta) for batch in obstore.list(self._store) for meta in batch]
        except Gone as gone:
            raise NightdropError(f"inbox {self._inbox.name} ({self._inbox.url}): there is no such place") from gone

    def look(self, path: str) -> Listed:
        import obstore

        with self._named():
            return self._listed(obstore.head(self._store, path))

    def checksum(self, listed: Listed) -> Checksum | None:
        """Return the MD5 that S3 and Google have for a tag; else what the answer to a signed question tells."""
        if not self._inbox.checksum:
            return None
        # The tag of an upload in parts is none of the whole: it has a dash. Azure's tags are never one.
        if self._scheme != "az" and _MD5.fullmatch(listed.tag):
            return Checksum("md5", bytes.fromhex(listed.tag))
        return None if self._scheme == "s3" else self._told(listed)

    def _told(self, listed: Listed) -> Checksum | None:
        """Ask for the headers that the library leaves out; None when we may not sign, or none tells a checksum."""
        import httpx
        import obstore
        from obstore.exceptions import BaseError

        try:
            # Azure's library signs a HEAD without a right to anything; there a GET's signature is good for both.
            method: Literal["GET", "HEAD"] = "GET" if self._scheme == "az" else "HEAD"
            url = obstore.sign(self._store, method, listed.path, _SIGNED_FOR)  # type: ignore[arg-type]  # ours is one that can
        except BaseError:  # credentials that only read: a public container, a metadata server without signBlob
            return None
        try:
            answer = httpx.head(url, timeout=_CONNECT_SECONDS)
        except httpx.HTTPError as error:
            raise NightdropError(f"inbox {self._inbox.name} ({self._inbox.url}): {type(error).__name__}") from error
        return checksum_told(answer.headers) if answer.is_success else None

    def read(self, listed: Listed, offset: int) -> Iterator[bytes]:
        import obstore

        if offset >= listed.size:
            return
        only = f'"{listed.tag}"' if listed.tag else None
        with self._named():
            found = obstore.get(self._store, listed.path, options={"range": {"offset": offset}, "if_match": only})
            for piece in found.stream(min_chunk_size=_PIECE):
                yield bytes(piece)

    def _listed(self, meta: Any) -> Listed:
        tag = (meta["e_tag"] or "").strip('"')  # Azure's lists leave the quotes out
        return Listed(meta["path"], meta["size"], meta["last_modified"].timestamp(), tag)


class _Sftp:
    """A folder of an SSH server."""

    def __init__(self, inbox: RemoteInbox, loop: asyncio.AbstractEventLoop, client: asyncssh.SFTPClient, root: str) -> None:
        self._inbox, self._loop, self._client, self._root = inbox, loop, client, root

    @classmethod
    @contextmanager
    def connected(cls, inbox: RemoteInbox) -> Iterator[_Sftp]:
        import asyncio

        import asyncssh

        place = urlsplit(inbox.url)
        loop = asyncio.new_event_loop()
        try:
            connect = asyncssh.connect(
                place.hostname or "",
                place.port or 22,
                username=unquote(place.username or "") or (),
                client_keys=[inbox.key] if inbox.key else None,
                known_hosts=inbox.known_hosts or str(Path("~/.ssh/known_hosts").expanduser()),
                agent_path=None,
                config=None,
                preferred_auth="publickey",
                connect_timeout=_CONNECT_SECONDS,
                keepalive_interval=_CONNECT_SECONDS,
            )
            with _told(inbox):
                connection = loop.run_until_complete(connect)
            try:
                with _told(inbox):
                    client = loop.run_until_complete(connection.start_sftp_client())
                yield cls(inbox, loop, client, unquote(place.path) or ".")
            finally:
                connection.close()
                loop.run_until_complete(connection.wait_closed())
        finally:
            loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        with _told(self._inbox):
            return self._loop.run_until_complete(work)

    def files(self) -> list[Listed]:
        try:
            return self._run(self._walk(""))
        except Gone as gone:
            raise NightdropError(f"inbox {self._inbox.name} ({self._inbox.url}): there is no such folder") from gone

    async def _walk(self, folder: str) -> list[Listed]:
        found = []
        for entry in await self._client.readdir(self._place(folder)):
            name = _text(entry.filename)
            if name in (".", ".."):
                continue
            path = f"{folder}/{name}" if folder else name
            mode = entry.attrs.permissions or 0
            if S_ISDIR(mode):
                found += await self._walk(path)
            elif S_ISREG(mode):  # no link is followed
                found.append(_file(path, entry.attrs))
        return found

    def look(self, path: str) -> Listed:
        return _file(path, self._run(self._client.lstat(self._place(path))))

    def checksum(self, listed: Listed) -> Checksum | None:
        """Return None: the protocol tells none that servers know."""
        return None

    def read(self, listed: Listed, offset: int) -> Iterator[bytes]:
        file = self._run(self._open(listed.path))
        try:
            while piece := self._run(file.read(_PIECE, offset)):
                yield bytes(piece)
                offset += len(piece)
        finally:
            self._run(file.close())

    async def _open(self, path: str) -> Any:
        return await self._client.open(self._place(path), "rb")

    def _place(self, path: str) -> bytes:
        return (f"{self._root}/{path}" if path else self._root).encode("utf-8", "surrogateescape")


@contextmanager
def _told(inbox: RemoteInbox) -> Iterator[None]:
    import asyncssh

    try:
        yield
    except asyncssh.SFTPNoSuchFile as error:
        raise Gone from error
    except (asyncssh.Error, OSError, TimeoutError, ValueError) as error:
        words = f"{type(error).__name__}: {error}".strip()[:300]
        raise NightdropError(f"inbox {inbox.name} ({inbox.url}): {words}") from error


def _text(name: str | bytes) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name


def _file(path: str, attrs: asyncssh.SFTPAttrs) -> Listed:
    return Listed(path, attrs.size or 0, float(attrs.mtime or 0))
