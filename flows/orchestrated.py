"""What Prefect shows of who is at work: the run that has the home says so, and runs that died saying so are shown as crashed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Crashed, Running

AT_WORK = "At work"
"""Name of the state of the one run that has a home."""


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


def _dead(client: SyncPrefectClient, home: str) -> list[UUID]:
    named = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[AT_WORK])))
    shown = client.read_flow_runs(flow_run_filter=named)
    return [run.id for run in shown if str(run.id) != str(flow_run.id) and _is_of(run.parameters.get("home"), home)]


def _is_of(parameter: object, home: str) -> bool:
    from pathlib import Path

    return isinstance(parameter, str) and str(Path(parameter).absolute()) == home
