"""Google's and Azure's object stores on loopback, as far as an inbox needs them: lists in pages, looks, reads from an offset.

Written after their documentation, for want of an emulator on the package index that knows the XML interface by which Google's store is
read; Azure's half is held to Azurite by `test_fetching` where that is at hand. No signature is looked at, only that there is one.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from google_crc32c import Checksum as Crc32c

_PAGE = 2
"""Objects a page: so small that every list has several."""
_editions = itertools.count(1)


@dataclass
class Blob:
    """An object as it lies there."""

    data: bytes
    summed: bool = True
    """Whether its MD5 is kept: not so of one that was put together from parts."""
    edition: int = field(default_factory=lambda: next(_editions))
    changed: float = field(default_factory=time.time)

    @property
    def md5(self) -> bytes:
        return hashlib.md5(self.data).digest()

    @property
    def crc32c(self) -> bytes:
        return Crc32c(self.data).digest()


class ObjectServer:
    """One bucket (container) called `drops`, of Google or Azure."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.blobs: dict[str, Blob] = {}
        self.asked: list[tuple[str, str]] = []
        """Method and what is special about it."""
        self.pause_after: int | None = None
        """Bytes of an object after which an answer stands still, as a line does that is about to break."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"there": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def tag(self, blob: Blob) -> str:
        """An entity tag without its quotes: Google has the MD5, but for objects put together; Azure never."""
        if self.kind == "azure":
            return f"0x8DE{blob.edition:012X}"
        return blob.md5.hex() if blob.summed else f"-CK{blob.edition:08d}EAE="

    def sums(self, blob: Blob) -> dict[str, str]:
        """The headers that tell checksums."""
        md5, crc32c = b64encode(blob.md5).decode(), b64encode(blob.crc32c).decode()
        if self.kind == "azure":
            return {"Content-MD5": md5} if blob.summed else {}
        return {"x-goog-hash": f"crc32c={crc32c}" + (f",md5={md5}" if blob.summed else "")}

    def listed(self, query: dict[str, str]) -> str:
        """A page of the list, as XML."""
        after = query.get("marker") or query.get("continuation-token") or ""
        names = [name for name in sorted(self.blobs) if name.startswith(query.get("prefix", "")) and name > after]
        page, more = names[:_PAGE], len(names) > _PAGE
        entries = "".join(self._entry(name, self.blobs[name]) for name in page)
        if self.kind == "azure":
            last = escape(page[-1]) if more else ""
            return f"<EnumerationResults><Blobs>{entries}</Blobs><NextMarker>{last}</NextMarker></EnumerationResults>"
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"

    def _entry(self, name: str, blob: Blob) -> str:
        if self.kind == "azure":
            return (
                f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{formatdate(blob.changed, usegmt=True)}</Last-Modified>"
                f"<Etag>{self.tag(blob)}</Etag><Content-Length>{len(blob.data)}</Content-Length><Content-Type>x/y</Content-Type>"
                "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            )
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(blob.changed)) + ".789Z"  # lists have fractions, looks none
        return (
            f"<Contents><Key>{escape(name)}</Key><LastModified>{moment}</LastModified>"
            f'<ETag>"{self.tag(blob)}"</ETag><Size>{len(blob.data)}</Size></Contents>'
        )


class _Handler(BaseHTTPRequestHandler):
    there: ObjectServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(place.query).items()}
        signed = "X-Goog-Signature" in query or "sig" in query
        if not signed and not self.headers.get("Authorization"):
            self._answer(403, {})
            return
        bucket, _, name = unquote(place.path).lstrip("/").partition("/")
        self.there.asked.append((self.command, "signed" if signed else self.headers.get("Range", "")))
        if bucket != "drops":
            self._answer(404, {})
        elif not name:
            self._answer(200, {"Content-Type": "application/xml"}, self.there.listed(query).encode())
        elif blob := self.there.blobs.get(name):
            self._give(blob)
        else:
            self._answer(404, {})

    do_HEAD = do_GET

    def _give(self, blob: Blob) -> None:
        tag = f'"{self.there.tag(blob)}"'
        if self.headers.get("If-Match", tag) != tag:
            self._answer(412, {})
            return
        headers = {"ETag": tag, "Last-Modified": formatdate(blob.changed, usegmt=True), "x-ms-blob-type": "BlockBlob"}
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if ranged is None:
            self._answer(200, headers | self.there.sums(blob), blob.data)
            return
        start, size = int(ranged[1]), len(blob.data)
        self._answer(206, headers | {"Content-Range": f"bytes {start}-{size - 1}/{size}"}, blob.data[start:])

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            pause = self.there.pause_after
            self.wfile.write(body[:pause])
            if pause is not None and len(body) > pause:
                self.wfile.flush()
                time.sleep(60)  # whoever asked is killed meanwhile
                self.close_connection = True
                return
            self.wfile.write(body[len(body[:pause]) :])
