"""Whole scenarios for the law: a few drops with events over few ids, so that lives collide.

`drops()` is the Hypothesis strategy, `sample(number)` the same by a seed (no shrinking, but every one is different); both
give path in the inbox → bytes as delivered. Most events are valid; what breaks them comes from `scenario_values`.
`python tests/scenarios.py [NUMBER]` prints one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st
from scenario_values import CREATE_CHANGES, DROP, ENVELOPES, ID, IDS, OTHER_NAMES, STEPS, TEMPLATES, UPDATE_CHANGES
from scenario_writing import (
    COLUMN_CHANGES,
    JSON_STYLES,
    LIMIT,
    Blank,
    Broken,
    Entry,
    Long,
    Sent,
    compressed,
    csv_file,
    jsonl,
)

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of a list: Hypothesis does, or a seeded random number."""

# --- events ----------------------------------------------------------------------------------------------------------

CATEGORIES = ["client"] * 3 + ["loan"] * 4 + ["payment"] * 4 + ["deposit"] * 2
HOW_MANY_CHANGES = {"create": [0, 0, 0, 1, 2, 1, 0, 0], "update": [1, 1, 1, 2, 2, 3, 0, 2, 1, 1], "delete": [0, 0, 1, 0]}
SPELLINGS = ["plain"] * 5 + ["both"] + ["other"] * 2 + ["plain"] * 3
KINDS = ["event"] * 24 + ["broken"] * 4 + ["blank"] * 2 + ["long"] + ["event"] * 20
BLANKS = ["", "", " ", "\t", "  \t ", "\x0b", "\x0c ", "\r", ""]
SIZES = [LIMIT, LIMIT + 1]
NUMBERS = range(1000)


def event(pick: Pick) -> Sent:
    """Make one event; most creates are valid records."""
    category, step = pick(CATEGORIES), pick(STEPS)
    data: dict[str, Any] = {"step": step, ID[category]: pick(IDS[category])}
    if step == "create":
        data |= pick(TEMPLATES[category])
    changes = CREATE_CHANGES[category] if step == "create" else UPDATE_CHANGES[category]
    for _ in range(pick(HOW_MANY_CHANGES[step])):
        data |= pick(changes)
    data = {name: value for name, value in data.items() if value is not DROP}
    if OTHER_NAMES[category]:
        data = respelled(category, data, pick(SPELLINGS))
    return Sent(category, data, pick(ENVELOPES[category]))


def respelled(category: str, data: dict[str, Any], how: str) -> dict[str, Any]:
    """Write the fields that have another spelling under it, or under both."""
    others = OTHER_NAMES[category]
    if how == "plain" or data.keys() & set(others.values()):
        return data  # a change that plays with spellings has its say
    renamed = {others.get(name, name): value for name, value in data.items()}
    return {**data, **renamed} if how == "both" else renamed


def entry(pick: Pick) -> Entry:
    """Make one line of a drop."""
    match pick(KINDS):
        case "broken":
            return Broken(pick(NUMBERS))
        case "blank":
            return Blank(pick(BLANKS))
        case "long":
            return Long(event(pick), pick(SIZES))
        case _:
            return event(pick)


PRELUDE = [
    Sent(category, {"step": "create", ID[category]: own_id, **TEMPLATES[category][number]})
    for category, own_id, number in [
        *[("client", "c1", 0), ("client", "c2", 1), ("loan", "l1", 0), ("loan", "l2", 1), ("payment", "p1", 0)],
        *[("payment", "p2", 1), ("deposit", "d1", 0)],
    ]
]
"""Valid records that many scenarios start with, so that what follows meets something."""

# --- files -----------------------------------------------------------------------------------------------------------

DATES = ["2025-01-05", "2025-01-06", "2025-01-07"] * 3 + ["2024-02-29"]
FOLDERS = [
    *["{iso}/part-2", "{iso}/part-10", "{iso}/02", "{iso}/2", "{iso}/a/b", "{iso}/a", "{iso}/part", "{iso}/A", "{iso}/é"],
    *["{compact}", "clients-{compact}", "clients_{compact}_2", "north/{iso}/x", "north/{compact}093000-x", "{iso}"],
    *["2025-13-45/{iso}/x", "1{compact}/{iso}/y", "10/{iso}-1", "9/{iso}-1", "{iso}/x y", "{iso}/x+1", "{iso}/𝄞", "{iso}/ﬀ"],
]
NO_DATE = ["undated", "2025-02-30", "12025-01-06x", "2025010"]
FORMATS = [".jsonl"] * 6 + [".ndjson", ".jsonl.gz", ".jsonl.zst", ".ndjson.gz", ".ndjson.zst"]
FORMATS += [".csv"] * 6 + [".csv.gz", ".csv.zst"]
NO_FORMAT = [".txt", ".json", "", ".csv.bz2", ".gz", ".xlsx", ".jsonl.zip"]
NO_DROPS = ["_{iso}/x.jsonl", "{iso}/.x.jsonl", "{iso}/x.jsonl.tmp", "{iso}/x.csv.done", "{iso}/x.jsonl.manifest.json"]
ENDS = [b"\n"] * 5 + [b"\r\n"] * 2

ODD_PATHS = [
    *[stem + suffix for stem in NO_DATE for suffix in (".jsonl", ".csv")],
    *[f"2025-01-06/x{suffix}" for suffix in NO_FORMAT],
    *[path.format(iso="2025-01-06") for path in NO_DROPS],
]
RARELY_ODD = [False] * 9 + [True] + [False] * 8
CUTS = [0] * 24 + [1, 2, 3, 7, 40] + [0] * 20
BOMS = [b""] * 8 + [b"\xef\xbb\xbf"] * 2 + [b"\xef\xbb\xbf\xef\xbb\xbf"] + [b""] * 6
WHOLE = [True] * 4 + [False] + [True] * 2
DAMAGES = ["none"] * 9 + ["cut", "no magic"] + ["two parts"] * 4
STYLES = range(3 * len(JSON_STYLES))
HOW_MANY_FILES = [1, 2, 2, 3, 3, 4, 5]
PRELUDES = [".jsonl", ".csv", None, ".csv", ".jsonl", ".jsonl"]

File = tuple[str, bytes, bytes]
"""Path, bytes as delivered, bytes uncompressed."""


def file(pick: Pick, lines: Sequence[Entry]) -> File:
    """Make one drop of these lines."""
    day = pick(DATES)
    path = pick(FOLDERS).format(iso=day, compact=day.replace("-", "")) + pick(FORMATS)
    if pick(RARELY_ODD):
        path = pick(ODD_PATHS)
    style, end = pick(STYLES), pick(ENDS)
    plain: bytes = csv_file(lines, style, end, pick(COLUMN_CHANGES)) if ".csv" in path else jsonl(lines, style, end)
    plain = pick(BOMS) + (plain if pick(WHOLE) else plain.removesuffix(end))
    if cut := pick(CUTS):
        plain = plain[:-cut]
    if path.endswith((".gz", ".zst")):
        return path, compressed(plain, zst=path.endswith(".zst"), damage=pick(DAMAGES)), plain
    return path, plain, plain


def scenario(pick: Pick, files: Sequence[File]) -> dict[str, bytes]:
    """Put drops together, no two with the same uncompressed bytes, often behind a file of valid records."""
    if suffix := pick(PRELUDES):
        plain = jsonl(PRELUDE, 0, b"\n") if suffix == ".jsonl" else csv_file(PRELUDE, 0, b"\n", COLUMN_CHANGES[0])
        files = [(f"2025-01-05/0{suffix}", plain, plain), *files]
    made: dict[str, bytes] = {}
    contents: set[bytes] = set()
    for path, delivered, plain in files:
        if plain not in contents and path not in made:
            contents.add(plain)
            made[path] = delivered
    return made


# --- two who choose --------------------------------------------------------------------------------------------------

_STRATEGIES: dict[int, tuple[Sequence[Any], st.SearchStrategy[Any]]] = {}


def _picking(draw: st.DrawFn) -> Pick:
    """Let Hypothesis choose; the strategy of a list is made once (the list is kept, so its id stays its own)."""

    def pick(options: Sequence[Any]) -> Any:
        if id(options) not in _STRATEGIES:
            _STRATEGIES[id(options)] = (options, st.sampled_from(options))
        return draw(_STRATEGIES[id(options)][1])

    return pick


@st.composite
def _entries(draw: st.DrawFn) -> Entry:
    return entry(_picking(draw))


_many = st.lists(_entries(), min_size=5, max_size=14)
_lines = st.one_of(st.lists(_entries(), max_size=4), _many, _many)


@st.composite
def drops(draw: st.DrawFn) -> dict[str, bytes]:
    """One to six drops over one to four business dates."""
    pick = _picking(draw)
    files = [file(pick, draw(_lines)) for _ in range(pick(HOW_MANY_FILES))]
    return scenario(pick, files)


def sample(number: int) -> dict[str, bytes]:
    """Return the scenario of that number, always the same."""
    random = Random(number)
    pick = random.choice
    files = [file(pick, [entry(pick) for _ in range(random.randint(0, 14))]) for _ in range(pick(HOW_MANY_FILES))]
    return scenario(pick, files)


def shown(scenario: dict[str, bytes]) -> str:
    """Return a scenario as a person can read it."""
    parts = []
    for path, delivered in scenario.items():
        parts.append(f"=== {path} ({len(delivered)} bytes)")
        parts += [f"{line[:400]!r}" for line in delivered.split(b"\n")]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(shown(sample(int(sys.argv[1]) if len(sys.argv) > 1 else 0)) + "\n")
