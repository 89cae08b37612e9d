"""`init` and `sample`: a new home, and synthetic drops to try it with."""

from __future__ import annotations

from pathlib import Path

from flows.terminal import Answer, line, table
from pipelines.home import Home
from pipelines.problems import NightdropError

_SETTINGS = """\
# Settings of this nightdrop home. What is commented out shows the default; a variable stands above this file
# (NIGHTDROP_CHUNK_BYTES=16MiB).

# A file that changed less than this many seconds ago is left for the next run.
# quiet_seconds = 0

# A drop of 20 records or more of which a larger share is refused by itself is held.
# hold_above = 0.5

# A drop that expands beyond this size is held.
# max_expanded = "64GiB"

# A drop with a longer record is held. (From 1 MiB on a record is refused, and its bytes are kept; that takes some memory.)
# max_line = "128MiB"

# How many uncompressed bytes are read and checked at a time; five times as many are decided at a time.
# chunk_bytes = "24MiB"

# Publish warehouse.masked.duckdb beside the warehouse: the same tables, with tokens for what identifies a person.
# publish_masked = false

# The wanted form of a registration number per client type: a regular expression that the whole value matches.
# [registration_patterns]
# individual = '(?s:(ID|PASS)-.+)'
# company = '(?s:CR-.+)'

# Who writes otherwise: a table for each source. A drop is of the first one that fits it: by `match`, a pattern of its path or a
# list of such, else by the table's name, which is then the first folder that is no date, or the file's name without its dates.
# [sources.acme]
# match = "*/acme/*.csv"
# delimiter = ";"                 # of its CSV
# encoding = "cp1252"             # or another one of one byte a character
# columns = { "Customer No" = "client_id" }              # what it calls them, and we
# constants = { step = "create", category = "client" }   # cells that every row has though no column says them
# hold_above = 0.1
# registration_patterns = { company = 'HRB [0-9]+' }

# Which drops are expected: of which source, for the business dates of which weekdays, until when (UTC), how many days later.
# What did not come is missing, for two weeks; `since` when (default: the source's first drop), `holidays` are not.
# [[expected]]
# source = "acme"
# weekdays = ["mon", "tue", "wed", "thu", "fri"]
# by = "06:30"
# days_later = 1
# since = 2026-11-16
# holidays = [2026-12-25, 2027-01-01]

# Inboxes elsewhere: what is new there is copied into data/inbox/<name>/ before a night (`nightdrop fetch` does just that). s3:,
# gs: and az: find their credentials in the environment (AWS_ACCESS_KEY_ID …); sftp: takes a key and known hosts.
# [inboxes.partner]
# url = "sftp://us@files.example/out"
# key = "/etc/nightdrop/id_ed25519"
# known_hosts = "/etc/nightdrop/known_hosts"
# [inboxes.bucket]
# url = "s3://bucket/out"
# options = { region = "eu-central-1" }
# checksum = true                 # false where the store encrypts with keys of your own: its tags are no MD5 then

# Who is told when a run failed, drops are held or missing, or a larger share of events is rejected: a URL gets a POST with
# JSON, a command the same on its standard input.
# [hooks]
# url = "https://chat.example/hook"
# command = ["/usr/local/bin/page-me"]
# rejects_above = 0.1
"""


def init(home: Home) -> Answer:
    """Make a home: its folders and a settings file to start from. What is there already stays as it is."""
    made: list[Path] = []
    try:
        for folder in (home.inbox, home.state, home.reports):
            if not folder.is_dir():
                folder.mkdir(parents=True, mode=0o750)
                made.append(folder)
        file = home.root / "nightdrop.toml"
        if not file.exists():
            file.write_text(_SETTINGS, encoding="utf-8")
            made.append(file)
    except OSError as error:
        raise NightdropError(
            f"{error.filename or home.root}: the home cannot be made here ({error.strerror}). Choose another place with --home."
        ) from error
    text = [line(f"made  {path}") for path in made] or [line(f"{home.root} is a home already; nothing was changed.")]
    next_step = line(f"Put drops into {home.inbox}/<YYYY-MM-DD>/, then `nightdrop run`.")
    return Answer({"home": str(home.root), "inbox": str(home.inbox), "made": [str(path) for path in made]}, [*text, next_step])


def sample(out: Path, *, events: int, seed: int, rejected: float, days: int, format: str) -> Answer:
    """Write synthetic drops: the same files for the same numbers."""
    from pipelines.sampling import make_sample

    paths = make_sample(out, events=events, seed=seed, rejected=rejected, days=days, format=format)
    sizes = [(str(path), path.stat().st_size) for path in paths]
    data = {"out": str(out), "events": events, "seed": seed, "drops": [{"path": path, "bytes": count} for path, count in sizes]}
    return Answer(data, [table(("drop", "bytes"), sizes), line(f"{events:,} events in {out}")])
