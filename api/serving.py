"""The server: uvicorn around the application, until it is told to end."""

from __future__ import annotations

import ipaddress
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from api.app import application
from api.keys import Keys
from api.limits import Limits
from api.service import Service, serving
from pipelines.home import Home, Settings
from pipelines.problems import NightdropError

_GRACE = 10


def keys_of(home: Home) -> Keys:
    """Return the keys of a home."""
    return Keys(Path(home.state, "api", "keys.json"))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Let the signals that end the server end it alone: uvicorn raises them again once it has, and work is left to do then."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """Tells where it listens once it does."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # sockets are ours alone
        await super().startup()
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def serve(home: Home, settings: Settings, *, host: str, port: int, limits: Limits, ready: Callable[[str], None]) -> None:
    """Serve the API of a home until the process is told to end; `ready` is given the address once it answers.

    Raises HomeBusyError when another server has the home, NightdropError when the address cannot be had.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("nightdrop").setLevel(logging.INFO)
    with serving(home):
        service = Service(home, settings)
        service.start()
        try:
            config = uvicorn.Config(
                application(service, keys_of(home), limits),
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                timeout_keep_alive=15,
                timeout_graceful_shutdown=_GRACE,
            )
            with _told_to_end():
                _Server(config, ready).run()
        except SystemExit as error:  # uvicorn leaves the process when it cannot listen
            raise NightdropError(
                f"{host} port {port}: cannot listen there. Is another server there? Choose another --port."
            ) from error
        finally:
            service.stop()
