"""Who is made, changed and deleted when: the plan of a sample, whole columns at once. Pure.

Every draw is a function of the seed, the name of what is drawn and a number, so a sample is the same on every machine
and whatever else is drawn. An entity's number is the number of the event that made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NOBODY = -1
"""Stands for an entity or parent that an event does not have."""


class Whom(Enum):
    """Which entity an event names, or which parent the entity of a create hangs on."""

    FRESH = auto()
    """One that never was: the event's own number."""
    LIVING = auto()
    MADE = auto()
    """Living or deleted."""
    DEAD = auto()
    GHOST = auto()
    """One whose create was refused, or that nobody ever sent."""


class Deed(Protocol):
    """What the plan must know of a kind of event."""

    @property
    def step(self) -> str:
        """`create`, `update` or `delete`."""

    @property
    def weight(self) -> int:
        """Against the others that are good, or refused, as it is."""

    @property
    def refused(self) -> bool:
        """Whether the rules refuse it."""

    @property
    def on(self) -> Whom:
        """Which record it is about."""

    @property
    def under(self) -> Whom:
        """Which parent a create names."""


def draw(seed: int, what: str, numbers: Ints, below: int | Ints) -> Ints:
    """Return for each number a draw from 0 up to `below`, itself left out (splitmix64 of seed, what and number)."""
    key = int.from_bytes(hashlib.blake2b(f"{seed}/{what}".encode(), digest_size=8).digest(), "big")
    z = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.array([key], dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = (z ^ (z >> np.uint64(31))) >> np.uint64(32)
    return ((z * np.asarray(below).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Draws:
    """The draws of one category."""

    seed: int
    category: str

    def below(self, what: str, numbers: Ints, size: int | Ints) -> Ints:
        """Return a draw below each size; 0 where the size is 0."""
        return draw(self.seed, f"{self.category}/{what}", numbers, np.maximum(size, 1))


@dataclass(frozen=True, slots=True)
class Lives:
    """The events of one category in order, and what children need to know of its entities."""

    kind: Ints
    """Per event: which of the kinds it was planned with."""
    entity: Ints
    parent: Ints
    day: Ints
    made: Ints
    """The entities whose create is good, in order. Those after it count from 0: the ordinals."""
    end: Ints
    """Per ordinal: the event that deletes it, or the number of events."""
    dead: Ints
    """Ordinals in the order of their deletes."""
    ghosts: Ints
    """Entities whose create is refused, in order."""

    def until(self, events: Ints, day: Ints) -> Ints:
        """Return for each day how many of the events, given in order, happen up to its end."""
        return np.searchsorted(self.day[events], day, side="right")


def plan_lives(draws: Draws, kinds: Sequence[Deed], *, events: int, days: int, rejected: float, parents: Lives | None) -> Lives:
    """Plan the events of one category; the first kind must be a good create and the first refused one a fresh create.

    A day's events come after all events of that day in the parents' category.
    """
    at = np.arange(events, dtype=np.int64)
    day = at * days // max(events, 1)
    kind = _kinds(draws, kinds, at, rejected)
    if parents is not None:
        kind = _without_dead_parents(kinds, kind, parents.until(parents.end[parents.dead], day))

    is_made = _has(kinds, kind, step="create") & ~_has(kinds, kind, refused=True)
    made = np.flatnonzero(is_made)
    made_before: Ints = np.cumsum(is_made) - is_made
    kind, dead, end = _deletes(kinds, kind, made, made_before)
    dead_before = np.searchsorted(end[dead], at)
    kind = np.where(_has(kinds, kind, on=Whom.DEAD) & (dead_before == 0), _fallback(kinds), kind)
    ghosts = np.flatnonzero(_has(kinds, kind, refused=True) & _has(kinds, kind, on=Whom.FRESH))

    anyone = made[draws.below("made", at, made_before)]
    alive = made[_living(draws.below("living", at, made_before), end, at)]
    entity = np.select(
        [_has(kinds, kind, on=whom) for whom in (Whom.FRESH, Whom.LIVING, Whom.MADE, Whom.DEAD)],
        [at, alive, anyone, _chosen(made, dead, draws.below("dead", at, dead_before))],
        _ghost(draws, ghosts, at, size=np.searchsorted(ghosts, at), events=events),
    )
    entity[_has(kinds, kind, step="delete", refused=False)] = made[dead]
    parent = np.full(events, NOBODY, dtype=np.int64)
    if parents is not None:
        wants = [_has(kinds, kind, under=whom) for whom in (Whom.LIVING, Whom.DEAD)]
        parent = _parents(Draws(draws.seed, f"{draws.category}'s parent"), wants, day, parents)
        known = entity < events
        parent = np.where(_has(kinds, kind, step="create"), parent, np.where(known, parent[entity * known], parent))
    return Lives(kind, entity, parent, day, made, end, dead, ghosts)


def _has(
    kinds: Sequence[Deed],
    kind: Ints,
    *,
    step: str | None = None,
    refused: bool | None = None,
    on: Whom | None = None,
    under: Whom | None = None,
) -> Flags:
    """Tell for each event whether its kind is as asked."""
    return np.array(
        [
            step in (None, one.step) and refused in (None, one.refused) and on in (None, one.on) and under in (None, one.under)
            for one in kinds
        ]
    )[kind]


def _kinds(draws: Draws, kinds: Sequence[Deed], at: Ints, rejected: float) -> Ints:
    """Return each event's kind: exactly the share `rejected` is of a refused kind, never the first event."""
    good = _weighted(draws, "good", [0 if one.refused else one.weight for one in kinds], at)
    bad = _weighted(draws, "bad", [one.weight if one.refused else 0 for one in kinds], at)
    order = np.argsort(draws.below("rejected", at[1:], 2**32), kind="stable") + 1
    kind = good
    refused = order[: round(rejected * len(at))]
    kind[refused] = bad[refused]
    kind[:1] = 0
    return kind


def _weighted(draws: Draws, what: str, weights: Sequence[int], at: Ints) -> Ints:
    return np.searchsorted(np.cumsum(weights), draws.below(what, at, sum(weights)), side="right")


def _fallback(kinds: Sequence[Deed]) -> int:
    """Return the refused kind that needs nobody else."""
    return next(i for i, one in enumerate(kinds) if one.refused)


def _without_dead_parents(kinds: Sequence[Deed], kind: Ints, dead: Ints) -> Ints:
    """Give an event that wants a deleted parent another kind where no parent is deleted yet."""
    return np.where(_has(kinds, kind, under=Whom.DEAD) & (dead == 0), _fallback(kinds), kind)


def _deletes(kinds: Sequence[Deed], kind: Ints, made: Ints, made_before: Ints) -> tuple[Ints, Ints, Ints]:
    """Let the k-th delete take ordinal 6k+1, so that each ordinal before a deleted one lives; else it is an update."""
    deletes = np.flatnonzero(_has(kinds, kind, step="delete", refused=False))
    taken = 6 * np.arange(len(deletes)) + 1
    possible = taken < made_before[deletes]
    update = next(i for i, one in enumerate(kinds) if one.step == "update" and not one.refused)
    kind = kind.copy()
    kind[deletes[~possible]] = update
    end = np.full(len(made), len(kind), dtype=np.int64)
    end[taken[possible]] = deletes[possible]
    return kind, taken[possible], end


def _living(ordinal: Ints, end: Ints, at: Ints) -> Ints:
    """Return the ordinals, or, where one has ended before the event, the one before it, which never does."""
    return np.where(end[ordinal] < at, ordinal - 1, ordinal)


def _chosen(made: Ints, dead: Ints, which: Ints) -> Ints:
    return made[dead[which]] if len(dead) else np.zeros_like(which)


def _ghost(draws: Draws, ghosts: Ints, at: Ints, *, size: Ints, events: int) -> Ints:
    """Return refused entities for about half of the events, and numbers that no event of the sample has."""
    unheard = events + draws.below("unheard", at, 1_000_000)
    if not len(ghosts):
        return unheard
    refused = ghosts[draws.below("ghost", at, size)]
    return np.where((size > 0) & (draws.below("which ghost", at, 2) == 0), refused, unheard)


def _parents(draws: Draws, wants: Sequence[Flags], day: Ints, parents: Lives) -> Ints:
    """Return a parent for each event, as the parents stand at the end of its day.

    `wants` tells who wants a living parent and who a deleted one; the others get one that never was.
    """
    at = np.arange(len(day))
    # An event number that is past every event of that day in the parents' category.
    close = np.searchsorted(parents.day, day, side="right")
    living = _living(draws.below("living", at, parents.until(parents.made, day)), parents.end, close)
    dead = draws.below("dead", at, parents.until(parents.end[parents.dead], day))
    ghosts = parents.until(parents.ghosts, day)
    return np.select(
        wants,
        [parents.made[living], _chosen(parents.made, parents.dead, dead)],
        _ghost(draws, parents.ghosts, at, size=ghosts, events=len(parents.kind)),
    )
