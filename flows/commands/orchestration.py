"""`run --prefect`: the nightly flow in this process, watched by a Prefect server of its own, without network and telemetry."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from flows.dependants import end_with_this_process
from flows.telling import telling_failures
from flows.terminal import write_note
from pipelines.files import private_folder
from pipelines.home import Home, Settings
from pipelines.problems import NightdropError
from pipelines.summary import Night

_LOCAL = "127.0.0.1,localhost"


def run_nightly(home: Home, settings: Settings, only_date: date | None) -> Night:
    """Run the flow and return what the night came to.

    A server that the user has (PREFECT_API_URL) or a profile of theirs (PREFECT_HOME) is used; else one is started for this run,
    its database under `data/state/prefect`. Raises NightdropError when it cannot be reached: nothing was begun then.
    """
    prepare_environment(home)
    write_note("starting Prefect (some seconds; `nightdrop run` does the same work without it)")
    end_with_this_process()  # the server, which a run that is killed would leave behind
    # Prefect reads the environment when it is imported.
    import httpx
    from prefect import tags
    from prefect.client.orchestration import get_client

    with telling_failures(home, settings, "nightdrop run --prefect"):
        try:
            with _interrupts_wait(), get_client(sync_client=True) as client:
                problem = client.api_healthcheck()
        except (RuntimeError, OSError, httpx.HTTPError) as error:
            problem = error
        if problem:
            raise NightdropError(
                f"Prefect's API cannot be reached ({problem}). Nothing was begun and nothing was changed. "
                "`nightdrop run` does the same work without Prefect."
            ) from problem
    from flows.nightly import nightly

    # The server is stopped when Python exits, which a plain SIGTERM would not let it do.
    signal.signal(signal.SIGTERM, _leave)
    with tags("nightdrop", "nightly"):
        return nightly(home=str(home.root), only_date=only_date)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Keep Ctrl-C waiting, in this process till the block ends and for good in those it starts.

    Ctrl-C reaches every process of a terminal. A server that ended by it would leave the run waiting a minute and more to tell
    that it was interrupted; so it lives on until the run ends it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_environment(home: Home) -> None:
    """Set what Prefect is to find in its environment; what the user has set stands."""
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"
    if not {"PREFECT_API_URL", "PREFECT_HOME"} & os.environ.keys():
        folder = home.state / "prefect"
        for private in (home.state, folder):
            private_folder(private)
        os.environ["PREFECT_HOME"] = str(folder)
    defaults = {
        # The run page keeps the log; the terminal gets our own words.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        # A fresh home makes its database first, on a slow machine for longer than the 20 s that Prefect would wait.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # The server is on this machine: a proxy of the company must not be asked for it.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), _LOCAL)))
