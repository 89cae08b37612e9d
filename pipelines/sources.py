"""Who sent a drop, told by its path, and what nightdrop.toml says of those who send. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from fnmatch import fnmatchcase

from pipelines.dialects import PLAIN, Dialect
from pipelines.discovery import business_date, drop_format

UNNAMED = "unnamed"
"""The source of a drop whose path has nothing but dates."""
_LIKE_A_DATE = re.compile(r"(?<![0-9])(?:\d{4}-\d{2}-\d{2}|\d{8}(?:\d{6})?)(?![0-9])", re.ASCII)
_SEPARATORS = " ._-~+,;:()[]"


def source_of(path: str) -> str:
    """Return the first folder that is no date, without the dates in its name; else the file's stem without dates.

    So one sender keeps one name over the nights: `2026-11-01/acme/clients.jsonl` and `acme_20261102/c.csv` are of `acme`,
    `clients-2026-11-01.csv.gz` is of `clients`.
    """
    *folders, name = path.split("/")
    return next(filter(None, map(_undated, [*folders, _stem(name)])), UNNAMED)


def _undated(text: str) -> str:
    """Return a name without its dates, nor the separators that stood around them."""
    cut = _LIKE_A_DATE.sub(lambda found: "/" if business_date(found[0]) else found[0], text)
    return "-".join(filter(None, (part.strip(_SEPARATORS) for part in cut.split("/"))))


def _stem(name: str) -> str:
    """Return a file's name without the suffixes that say its format."""
    name = name.removesuffix(".gz").removesuffix(".zst")
    stem, _, suffix = name.rpartition(".")
    return stem if stem and drop_format(f"x.{suffix}") else name


@dataclass(frozen=True, slots=True)
class Source:
    """What is said of one who sends."""

    name: str
    match: tuple[str, ...] = ()
    """Patterns of paths (`*` stands for anything, folders too); none: the paths that `source_of` gives this name."""
    dialect: Dialect = PLAIN
    hold_above: float | None = None
    registration_patterns: Mapping[str, str] = field(default_factory=dict)
    """Wanted form of a registration number per client type; types not named are as everywhere."""

    def sends(self, path: str) -> bool:
        """Tell whether a drop of that path is this one's."""
        return any(fnmatchcase(path, pattern) for pattern in self.match) if self.match else source_of(path) == self.name

    def takes_all_of(self, patterns: Iterable[str]) -> bool:
        """Tell whether surely every path that fits some patterns is this one's."""
        # A pattern of nothing but `*` and plain characters fits another one's text only if it fits all that fits that one.
        sure = [pattern for pattern in self.match if not set(pattern) & set("?[")]
        by_name = re.compile(rf"{re.escape(self.name)}/") if not self.match else None
        return all(
            any(fnmatchcase(wanted, pattern) for pattern in sure) or bool(by_name and by_name.match(wanted))
            for wanted in patterns
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """All that is said, in the order in which it is said: the first that fits a path counts."""

    declared: tuple[Source, ...] = ()

    def idle(self) -> Iterator[tuple[Source, Source | None]]:
        """Yield the sources that no drop can be of, each with the earlier one that takes all it fits (None: nothing fits it)."""
        for place, source in enumerate(self.declared):
            if not source.match and source_of(f"{source.name}/x") != source.name:
                yield source, None
            taken = next((other for other in self.declared[:place] if source.match and other.takes_all_of(source.match)), None)
            if taken:
                yield source, taken

    def of(self, path: str) -> Source | None:
        """Return what is said of the sender of a drop."""
        return next((source for source in self.declared if source.sends(path)), None)

    def name_of(self, path: str) -> str:
        """Return the sender's name."""
        found = self.of(path)
        return found.name if found else source_of(path)

    def dialect_of(self, path: str) -> Dialect:
        """Return how the sender of a drop writes CSV."""
        found = self.of(path)
        return found.dialect if found else PLAIN

    def patterns(self) -> dict[str, Mapping[str, str]]:
        """Return the registration patterns by source, of those that have their own."""
        return {source.name: source.registration_patterns for source in self.declared if source.registration_patterns}

    def reading(self) -> str:
        """Return what decides how drops are read, and whose they are, as one text: it is part of the rule set."""
        said = [
            (source.name, source.match, *astuple(source.dialect))
            for source in self.declared
            if source.dialect != PLAIN or source.registration_patterns
        ]
        # A source that only shadows a later one by its patterns decides too.
        names = [(source.name, source.match) for source in self.declared] if said else []
        return json.dumps([said, names]) if said else ""


ANYBODY = Sources()
