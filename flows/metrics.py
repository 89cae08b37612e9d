"""What the last run came to, as a text file that Prometheus' node exporter collects."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipelines.files import replace
from pipelines.home import Home
from pipelines.summary import Night

METRICS = "metrics.prom"
_FAILED = "nightdrop_last_run_failed"
_ENDED = "nightdrop_last_run_timestamp_seconds"
_SUCCEEDED = "nightdrop_last_success_timestamp_seconds"
_WORDS = {
    _FAILED: "1 when the last run failed",
    _ENDED: "When the last run ended",
    _SUCCEEDED: "When the last run ended that did not fail",
    "nightdrop_last_run_seconds": "How long the last run took that did not fail",
    "nightdrop_last_run_events": "Events that run decided",
    "nightdrop_last_run_applied": "Events that run applied",
    "nightdrop_last_run_rejected": "Events that run rejected",
    "nightdrop_last_run_flipped": "Earlier verdicts that run turned",
    "nightdrop_held_drops": "Drops that wait for a person",
    "nightdrop_missing_drops": "Expected drops that did not come",
}


def write_metrics(home: Home, night: Night | None) -> None:
    """Write the file; of a run that failed (None) only that it did: the other numbers stay those of the run before.

    Raises OSError when it cannot be written.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    file = home.state / METRICS
    now = datetime.now(UTC).timestamp()
    values = _of(night, now) if night else _before(file)
    values |= {_FAILED: float(night is None), _ENDED: now}
    registry = CollectorRegistry()
    for name, words in _WORDS.items():
        if name in values:
            # One exporter may collect the files of several homes.
            Gauge(name, words, ["home"], registry=registry).labels(str(home.root)).set(values[name])
    replace(file, generate_latest(registry))


def _of(night: Night, now: float) -> dict[str, float]:
    return {
        _SUCCEEDED: now,
        "nightdrop_last_run_seconds": night.seconds,
        "nightdrop_last_run_events": night.events,
        "nightdrop_last_run_applied": night.applied,
        "nightdrop_last_run_rejected": night.rejected,
        "nightdrop_last_run_flipped": night.flipped,
        "nightdrop_held_drops": len(night.held),
        "nightdrop_missing_drops": len(night.missing),
    }


def _before(file: Path) -> dict[str, float]:
    """Return the numbers that the file has; none when there is none, or it is not ours any more."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(file.read_text("utf-8")))
    except (OSError, ValueError):
        return {}
    return {sample.name: sample.value for family in families for sample in family.samples if sample.name in _WORDS}
