"""What must add up in a warehouse: each promise is one query that finds no row."""

from __future__ import annotations

from dataclasses import dataclass

from validation.entities import ENTITIES
from validation.fields import Entity
from validation.loan import LOAN


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the warehouse."""

    name: str
    promise: str
    sql: str
    """Gives the rows that break the promise. `$since` stands for the first business date to look at."""


def _entity_checks(entity: Entity) -> list[Check]:
    key, table, history = entity.id, entity.table, entity.history
    return [
        Check(
            f"{table}_unique",
            f"every {key} stands once in {table}",
            f"SELECT {key} FROM {table} GROUP BY {key} HAVING count(*) > 1",
        ),
        Check(
            f"{table}_dates",
            f"in {table}, created_on is not after updated_on, and a deleted row was last updated by its delete",
            f"SELECT {key}, created_on, updated_on, deleted_on FROM {table} WHERE updated_on >= $since "
            "AND (created_on > updated_on OR deleted_on <> updated_on)",
        ),
        Check(
            f"{history}_chain",
            f"the versions in {history} follow one another without gap or overlap from created_on on, each from its "
            "updated_on on, the last one open",
            # Each starts where the one before it ends, so the last, and it alone, has no end.
            f"""SELECT {key}, valid_from, valid_to, starts AS next_valid_from FROM (
                    SELECT {key}, created_on, updated_on, valid_from, valid_to,
                        lead(valid_from) OVER versions AS starts, row_number() OVER versions = 1 AS first
                    FROM {history} WHERE valid_from >= $since OR valid_to >= $since
                    WINDOW versions AS (PARTITION BY {key} ORDER BY valid_from)
                ) WHERE valid_from >= valid_to OR valid_to IS DISTINCT FROM starts OR updated_on <> valid_from
                    OR (first AND valid_from <> created_on AND valid_from >= $since)""",
        ),
        Check(
            f"{history}_events",
            f"{history} has one version for each business date on which an event was applied, and no other",
            f"""SELECT coalesce(e.id, v.id) AS {key}, e.day AS event_on, v.day AS valid_from
                FROM (SELECT DISTINCT entity_id AS id, business_date AS day FROM events
                      WHERE category = '{entity.category}' AND verdict = 'applied' AND business_date >= $since) AS e
                FULL JOIN (SELECT {key} AS id, valid_from AS day FROM {history} WHERE valid_from >= $since) AS v
                    ON e.id = v.id AND e.day = v.day
                WHERE e.id IS NULL OR v.id IS NULL""",
        ),
        *_parent_checks(entity),
    ]


def _parent_checks(entity: Entity) -> list[Check]:
    if entity.parent is None or entity.parent_id is None:
        return []
    parent = ENTITIES[entity.parent]
    return [
        Check(
            f"{entity.table}_parent",
            f"every {entity.parent_id} in {entity.table} stands in {parent.table}",
            f"SELECT c.{entity.id}, c.{entity.parent_id} FROM {entity.table} AS c "
            f"ANTI JOIN {parent.table} AS p ON p.{parent.id} = c.{entity.parent_id} WHERE c.updated_on >= $since",
        )
    ]


def _once(table: str, *key: str) -> Check:
    """Promise that no two rows of a table have the same key."""
    columns = ", ".join(key)
    return Check(
        f"{table}_unique",
        f"no two rows of {table} have the same {columns}",
        f"SELECT {columns} FROM {table} WHERE business_date >= $since GROUP BY {columns} HAVING count(*) > 1",
    )


_POSITION = ("business_date", "path", "line")
_AT_POSITION = "USING (business_date, path, line)"


def _orphans(table: str, events: str, promise: str) -> Check:
    """Promise that each row of a table stands at the position of such an event."""
    return Check(
        f"{table}_events",
        promise,
        f"SELECT DISTINCT business_date, path, line FROM {table} "
        f"ANTI JOIN (FROM events WHERE {events}) {_AT_POSITION} WHERE business_date >= $since",
    )


def _every_rejected_event(table: str, promise: str) -> Check:
    return Check(
        f"rejected_in_{table}",
        promise,
        f"SELECT business_date, path, line FROM events ANTI JOIN {table} {_AT_POSITION} "
        "WHERE verdict = 'rejected' AND business_date >= $since",
    )


_EVENT_CHECKS = (
    _once("events", *_POSITION),
    Check(
        "events_verdict",
        "every event is applied or rejected",
        "SELECT business_date, path, line, verdict FROM events "
        "WHERE verdict NOT IN ('applied', 'rejected') AND business_date >= $since",
    ),
    _once("rejections", *_POSITION, "code", "field", "value"),
    _every_rejected_event("rejections", "every rejected event has a reason in rejections"),
    _orphans("rejections", "verdict = 'rejected'", "only rejected events have reasons in rejections"),
    _once("rejected_lines", *_POSITION),
    _every_rejected_event("rejected_lines", "the bytes of every rejected event are in rejected_lines"),
    _orphans("rejected_lines", "verdict = 'rejected'", "only rejected events have their bytes in rejected_lines"),
    Check(
        "rejected_lines_length",
        "byte_length in rejected_lines is the length of raw",
        "SELECT business_date, path, line, byte_length, octet_length(raw) AS raw_length FROM rejected_lines "
        "WHERE business_date >= $since AND byte_length <> octet_length(raw)",
    ),
    Check(
        "warnings_unique",
        "no warning is told twice",
        # A key that is unknown may stand in the envelope and under data, with the same value.
        "SELECT business_date, path, line, code, field, value FROM warnings WHERE business_date >= $since "
        "GROUP BY ALL HAVING count(*) > CASE code WHEN 'unknown_field' THEN 2 ELSE 1 END",
    ),
    _orphans("warnings", "verdict = 'applied'", "only applied events have warnings"),
)

_LOAN_CHANGE_CHECKS = (
    _once("loan_changes", *_POSITION, "field"),
    Check(
        "loan_changes_events",
        "every row of loan_changes stands at the position of an applied update of its loan",
        """SELECT c.loan_id, business_date, path, line FROM loan_changes AS c
           ANTI JOIN (SELECT business_date, path, line, entity_id AS loan_id FROM events
                      WHERE category = 'loan' AND step = 'update' AND verdict = 'applied')
           USING (business_date, path, line, loan_id) WHERE business_date >= $since""",
    ),
    Check(
        "loan_changes_whole",
        f"where {', '.join(LOAN.watched)} differ between two versions of a loan, loan_changes has a row of that date",
        " UNION ALL ".join(
            f"""SELECT a.loan_id, a.valid_from, '{field}' AS field FROM loan_history AS a
                JOIN loan_history AS b ON a.loan_id = b.loan_id AND a.valid_from = b.valid_to
                ANTI JOIN (FROM loan_changes WHERE field = '{field}') AS c
                    ON c.loan_id = a.loan_id AND c.business_date = a.valid_from
                WHERE a.valid_from >= $since AND a.{field} IS DISTINCT FROM b.{field}"""
            for field in LOAN.watched
        ),
    ),
)

_DROP_CHECKS = (
    Check(
        "drops_living",
        "a path has one living drop at most",
        "SELECT path FROM drops WHERE status = 'applied' GROUP BY path HAVING count(*) > 1",
    ),
    Check(
        "drops_conservation",
        "records = applied + rejected in every living drop, as counted in events and warnings, and every event is of one",
        """SELECT coalesce(d.business_date, e.business_date) AS business_date, coalesce(d.path, e.path) AS path,
                  d.records, d.applied, d.rejected, d.warned,
                  e.events AS in_events, e.applied AS applied_in_events, w.lines AS in_warnings
           FROM (FROM drops WHERE status = 'applied' AND business_date >= $since) AS d
           FULL JOIN (SELECT business_date, path, count(*) AS events, count(*) FILTER (verdict = 'applied') AS applied
                      FROM events WHERE business_date >= $since GROUP BY ALL) AS e
               ON d.business_date = e.business_date AND d.path = e.path
           LEFT JOIN (SELECT business_date, path, count(DISTINCT line) AS lines
                      FROM warnings WHERE business_date >= $since GROUP BY ALL) AS w
               ON d.business_date = w.business_date AND d.path = w.path
           WHERE d.path IS NULL
               OR d.records IS DISTINCT FROM d.applied + d.rejected
               OR d.records IS DISTINCT FROM coalesce(e.events, 0)
               OR d.applied IS DISTINCT FROM coalesce(e.applied, 0)
               OR d.warned IS DISTINCT FROM coalesce(w.lines, 0)""",
    ),
)

_DIARY_CHECKS = (
    Check(
        "drops_unique",
        "no row of drops stands twice",
        "SELECT path, sha256, status FROM (SELECT *, count(*) AS times FROM drops GROUP BY ALL) WHERE times > 1",
    ),
    Check(
        "drops_run",
        "the run of every drop is in runs",
        "SELECT path, run_id FROM drops ANTI JOIN runs USING (run_id)",
    ),
    Check(
        "runs_unique",
        "every run stands once in runs",
        "SELECT run_id FROM runs GROUP BY run_id HAVING count(*) > 1",
    ),
    Check(
        "corrections_unique",
        "no row of corrections stands twice",
        "SELECT path, line, sha256, its_line FROM (SELECT *, count(*) AS times FROM corrections GROUP BY ALL) WHERE times > 1",
    ),
    _once("verdict_changes", "run_id", *_POSITION),
    Check(
        "verdict_changes_run",
        "the run of every changed verdict is in runs",
        "SELECT DISTINCT run_id FROM verdict_changes ANTI JOIN runs USING (run_id)",
    ),
)

CHECKS: tuple[Check, ...] = (
    *(one for entity in ENTITIES.values() for one in _entity_checks(entity)),
    *_EVENT_CHECKS,
    *_LOAN_CHANGE_CHECKS,
    *_DROP_CHECKS,
    *_DIARY_CHECKS,
)
