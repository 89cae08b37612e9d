"""What Prefect shows of who is at work: the run that has the home says so, and runs that died saying so are shown as crashed."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect._internal.concurrency import threads  # Prefect is held to one version; no public name ends them
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Crashed, Running

AT_WORK = "At work"
"""Name of the state of the one run that has a home."""
_LAST_WORDS_SECONDS = 5.0


@contextmanager
def at_work(home: str) -> Iterator[None]:
    """Show this flow run as the one that has the home while the block runs; its caller has the home's lock.

    Whoever else is shown so for this home is dead: the kernel gave its lock back. A worker that died with it could not say so.
    """
    with get_client(sync_client=True) as client:
        for run_id in _dead(client, home):
            died: State[None] = Crashed(
                message="It died without a word: another run has its home since. That one finished its work."
            )
            client.set_flow_run_state(run_id, died, force=True)
        client.set_flow_run_state(flow_run.id, Running(name=AT_WORK), force=True)
    try:
        yield
    finally:
        # Before the lock is given back: a run that ends is not a dead one.
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Running(), force=True)


def end_background_loops() -> None:
    """End the two threads in which Prefect does its talking.

    They keep a flow, and with it all modules it knows, beyond the interpreter's end; DuckDB's binding then tells on the last
    lines of every run of objects that were never given back.
    """
    for ending in (threads.get_global_loop, threads.get_run_sync_loop):
        loop = ending()
        loop.shutdown()
        loop.thread.join(_LAST_WORDS_SECONDS)


atexit.register(end_background_loops)


def _dead(client: SyncPrefectClient, home: str) -> list[UUID]:
    named = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[AT_WORK])))
    shown = client.read_flow_runs(flow_run_filter=named)
    return [run.id for run in shown if str(run.id) != str(flow_run.id) and _is_of(run.parameters.get("home"), home)]


def _is_of(parameter: object, home: str) -> bool:
    from pathlib import Path

    return isinstance(parameter, str) and str(Path(parameter).absolute()) == home
