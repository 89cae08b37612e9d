"""What must add up in a warehouse: each promise is one query that finds no row."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.lineblocks import block, count_lines, lines
from pipelines.tables import past
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
    key, table, history, ended = entity.id, entity.table, entity.history, past(entity)
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
            # An open version is the record's row, and begins on its updated_on. Whatever ends is followed, whatever does not
            # begin on created_on follows: then versions make chains, and each chain has its own row in the table of records.
            f"""SELECT {key}, valid_from, valid_to FROM {ended}
                WHERE (valid_from >= $since OR valid_to >= $since) AND (valid_from >= valid_to OR valid_from <> updated_on)
                UNION ALL BY NAME
                SELECT {key}, day, sum(ends) AS ends, sum(begins) AS begins FROM (
                    SELECT {key}, valid_to AS day, 1 AS ends, 0 AS begins FROM {ended} WHERE valid_to >= $since
                    UNION ALL
                    SELECT {key}, valid_from, 0, 1 FROM {ended} WHERE valid_from >= $since AND valid_from <> created_on
                    UNION ALL
                    SELECT {key}, updated_on, 0, 1 FROM {table} WHERE updated_on >= $since AND updated_on <> created_on
                ) GROUP BY {key}, day HAVING sum(ends) <> 1 OR sum(begins) <> 1""",
        ),
        Check(
            f"{history}_events",
            f"{history} has a version for each business date on which an event was applied, and for no other",
            # Several events may meet one version: to make them one first would cost more than the join.
            f"""SELECT DISTINCT coalesce(e.id, v.id) AS {key}, e.day AS event_on, v.day AS valid_from
                FROM (SELECT entity_id AS id, business_date AS day FROM events
                      WHERE category = '{entity.category}' AND verdict = 'applied' AND business_date >= $since) AS e
                FULL JOIN (SELECT {key} AS id, updated_on AS day FROM {table} WHERE updated_on >= $since
                           UNION ALL SELECT {key}, valid_from FROM {ended} WHERE valid_from >= $since) AS v
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


_POSITION = ("business_date", "path", "line")
_AT_POSITION = "USING (business_date, path, line)"
_AT_BLOCK = f"b ON b.business_date = t.business_date AND b.path = t.path AND b.lines = {block('t.line')}"


def _once(table: str, *others: str) -> Check:
    """Promise that no two rows of a table have the same position and others."""
    key = ", ".join((*_POSITION, *others))
    # What cannot be is soon told: fewer distinct lines than rows, of a block; fewer distinct hashes, of all.
    doubtful = (
        f"""SEMI JOIN (
                SELECT business_date, path, {block()} AS lines FROM {table} WHERE business_date >= $since
                GROUP BY ALL HAVING count(*) > {count_lines()}
            ) AS {_AT_BLOCK} WHERE true"""
        if not others
        else f"WHERE (SELECT count(*) > count(DISTINCT hash({key})) FROM {table} WHERE business_date >= $since)"
    )
    return Check(
        f"{table}_unique",
        f"no two rows of {table} have the same {key}",
        f"SELECT {key} FROM {table} AS t {doubtful} AND t.business_date >= $since GROUP BY {key} HAVING count(*) > 1",
    )


def _orphans(table: str, events: str, promise: str) -> Check:
    """Promise that each row of a table stands at the position of such an event."""
    return Check(
        f"{table}_events",
        promise,
        f"SELECT DISTINCT business_date, path, line FROM {table} "
        f"ANTI JOIN (FROM events WHERE {events} AND business_date >= $since) {_AT_POSITION} WHERE business_date >= $since",
    )


def _of_rejected_events(table: str, promise: str) -> Check:
    """Promise that a table has rows at the positions of all rejected events, and nowhere else."""
    in_blocks = f"SELECT business_date, path, {block()} AS lines, {lines()}"
    return Check(
        f"{table}_events",
        promise,
        f"""WITH blocks AS MATERIALIZED (
                SELECT business_date, path, lines
                FROM ({in_blocks} AS refused FROM events WHERE verdict = 'rejected' AND business_date >= $since GROUP BY ALL)
                FULL JOIN ({in_blocks} AS told FROM {table} WHERE business_date >= $since GROUP BY ALL)
                    USING (business_date, path, lines)
                WHERE refused IS DISTINCT FROM told
            )
            SELECT DISTINCT business_date, path, line, verdict
            FROM (FROM events AS t SEMI JOIN blocks AS {_AT_BLOCK} WHERE verdict = 'rejected')
            FULL JOIN (SELECT t.*, true AS told FROM {table} AS t SEMI JOIN blocks AS {_AT_BLOCK}) {_AT_POSITION}
            WHERE verdict IS NULL OR told IS NULL""",
    )


_EVENT_CHECKS = (
    _once("events"),
    Check(
        "events_verdict",
        "every event is applied or rejected",
        "SELECT business_date, path, line, verdict FROM events "
        "WHERE verdict NOT IN ('applied', 'rejected') AND business_date >= $since",
    ),
    _once("rejections", "code", "field", "value"),
    _of_rejected_events("rejections", "every rejected event, and no other, has a reason in rejections"),
    _once("rejected_lines"),
    _of_rejected_events("rejected_lines", "the bytes of every rejected event, and of no other, are in rejected_lines"),
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

_CHANGED = ", ".join(f"if(a.{field} IS DISTINCT FROM b.{field}, '{field}', NULL)" for field in LOAN.watched)
_LOAN_CHANGE_CHECKS = (
    _once("loan_changes", "field"),
    Check(
        "loan_changes_events",
        "every row of loan_changes stands at the position of an applied update of its loan",
        """SELECT c.loan_id, business_date, path, line FROM loan_changes AS c
           ANTI JOIN (SELECT business_date, path, line, entity_id AS loan_id FROM events
                      WHERE category = 'loan' AND step = 'update' AND verdict = 'applied' AND business_date >= $since)
           USING (business_date, path, line, loan_id) WHERE business_date >= $since""",
    ),
    Check(
        "loan_changes_whole",
        f"where {', '.join(LOAN.watched)} differ between two versions of a loan, loan_changes has a row of that date",
        f"""SELECT loan_id, valid_from, field FROM (
                SELECT a.loan_id, a.valid_from, unnest([{_CHANGED}]) AS field FROM {LOAN.history} AS a
                JOIN {past(LOAN)} AS b ON a.loan_id = b.loan_id AND a.valid_from = b.valid_to WHERE a.valid_from >= $since
            ) AS d
            ANTI JOIN loan_changes AS c ON c.loan_id = d.loan_id AND c.business_date = d.valid_from AND c.field = d.field
            WHERE field IS NOT NULL""",
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
    _once("verdict_changes", "run_id"),
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
