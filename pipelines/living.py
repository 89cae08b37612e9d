"""Which edition of each drop lives, and why the others do not: contract section 2, "Living". Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

from pipelines.book import Book, Edition
from pipelines.discovery import held_by_name, path_key
from pipelines.journals import is_journal

RELEASABLE = frozenset(
    {"no_business_date", "too_large", "truncated", "manifest_mismatch", "too_many_rejects", "same_bytes_other_date"}
)
"""Holds that a person may lift; the others leave nothing that could be read."""
_ENOUGH = 20
"""From how many records on a drop is judged by its share of refused ones, and by the same bytes at another date."""


Share = Callable[[str], float]
"""The share of refused records above which a drop of a path is held."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of an edition: status, reason and detail as in `drops`."""

    status: str
    reason: str | None = None
    detail: str | None = None


def own_hold(edition: Edition, hold_above: Share) -> tuple[str, str] | None:
    """Return why an edition is held whatever else came; None when it is not, or when a person released it."""
    found = _found(edition, hold_above)
    return None if found and edition.released and found[0] in RELEASABLE else found


def _found(edition: Edition, hold_above: Share) -> tuple[str, str] | None:
    named = held_by_name(edition.path)
    if named and not (named[0] == "no_business_date" and edition.business_date):
        return named
    return edition.hold or _manifest_hold(edition) or _rejects_hold(edition, hold_above(edition.path))


def _manifest_hold(edition: Edition) -> tuple[str, str] | None:
    manifest = edition.manifest
    if manifest is None:
        return None
    if "problem" in manifest:
        return "manifest_mismatch", manifest["problem"]
    told = manifest.get("sha256")
    if told is not None and told.lower() != edition.sha256:
        return "manifest_mismatch", f"the manifest says sha256 {told}, the file has {edition.sha256}"
    lines = manifest.get("lines")
    if lines is not None and edition.lines is not None and lines != edition.lines:
        return "manifest_mismatch", f"the manifest says {lines} lines, the file has {edition.lines}"
    return None


def _rejects_hold(edition: Edition, hold_above: float) -> tuple[str, str] | None:
    records, refused = edition.records or 0, edition.refused or 0
    if is_journal(edition.path) or records < _ENOUGH or refused <= hold_above * records:
        return None
    return (
        "too_many_rejects",
        f"{refused} of {records} records are refused by themselves; more than {hold_above:.0%} holds a drop",
    )


def judge(book: Book, hold_above: Share) -> dict[tuple[str, str], Standing]:
    """Return the standing of every edition, decided anew from nothing but the book."""
    by_path = book.of_path()
    held: dict[tuple[str, str], tuple[str, str]] = {}
    for edition in book.editions:
        hold = own_hold(edition, hold_above)
        if hold and not edition.withdrawn:
            held[edition.key] = hold
    standing: dict[tuple[str, str], Standing] = {}
    earlier: dict[str, Edition] = {}
    # Dates in their order: what is held for its bytes hangs on what lives at earlier dates only.
    for editions_of_paths in _by_date(by_path, held):
        candidates = [found for editions in editions_of_paths if (found := _candidate(editions, held, earlier))]
        lowest = _judge_alike(candidates, standing)
        for edition in lowest:
            if is_journal(edition.path):  # what it holds was acknowledged line by line: it is compared with no other drop
                continue
            earlier.setdefault(str(edition.content), edition)
    for editions in by_path.values():
        _judge_others(editions, held, standing)
    return standing


def _by_date(by_path: dict[str, list[Edition]], held: dict[tuple[str, str], tuple[str, str]]) -> Iterable[list[list[Edition]]]:
    """Return the editions of paths, by the business date of what each would have live; dates ascend, undated last."""
    dates: dict[date, list[list[Edition]]] = defaultdict(list)
    for editions in by_path.values():
        last = next((edition for edition in reversed(editions) if edition.key not in held), None)
        if last is not None:
            dates[last.business_date or date.max].append(editions)
    return (dates[day] for day in sorted(dates))


def _candidate(
    editions: list[Edition], held: dict[tuple[str, str], tuple[str, str]], earlier: dict[str, Edition]
) -> Edition | None:
    """Return the last edition of a path that is not held; one that loses to an earlier date's same bytes is held from now on."""
    for edition in reversed(editions):
        if edition.key in held:
            continue
        winner = earlier.get(str(edition.content)) if edition.content else None
        exempt = edition.withdrawn or edition.released or (edition.records or 0) < _ENOUGH or is_journal(edition.path)
        if winner is None or exempt:
            return edition
        held[edition.key] = ("same_bytes_other_date", f"the same bytes as {winner.path} of {winner.business_date}")
    return None


def _judge_alike(candidates: list[Edition], standing: dict[tuple[str, str], Standing]) -> list[Edition]:
    """Judge the candidates of one date; return those that live."""
    groups: dict[object, list[Edition]] = defaultdict(list)
    for edition in candidates:
        alike = None if is_journal(edition.path) else edition.content
        groups[alike or edition.key].append(edition)
    living = []
    for group in groups.values():
        lowest = min(group, key=lambda edition: path_key(edition.path))
        out = any(edition.withdrawn for edition in group)
        for edition in group:
            if out:
                standing[edition.key] = Standing("withdrawn")
            elif edition is lowest:
                standing[edition.key] = Standing("applied")
                living.append(edition)
            else:
                standing[edition.key] = Standing("duplicate", "duplicate_of", lowest.path)
    return living


def _judge_others(
    editions: list[Edition], held: dict[tuple[str, str], tuple[str, str]], standing: dict[tuple[str, str], Standing]
) -> None:
    """Judge the editions of a path that are not its candidate: the last one is held, or a newer one took its place."""
    newer: Edition | None = None
    for edition in reversed(editions):
        if edition.key not in standing:
            if edition.key in held and newer is None:
                standing[edition.key] = Standing("held", *held[edition.key])
            else:
                standing[edition.key] = Standing("superseded", "superseded_by", newer.sha256 if newer else None)
        newer = edition
