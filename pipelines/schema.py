"""The schema of a warehouse file: made out of the declared tables, known again by its fingerprint."""

from __future__ import annotations

import hashlib

import duckdb

from pipelines.database import transaction
from pipelines.tables import MACROS, PAST, TABLES, VIEWS, Table, View

_FINGERPRINT_MACRO = "nightdrop_schema"


def statements() -> list[str]:
    """Return the DDL of the warehouse, in the order in which it runs."""
    ddl = [f"CREATE SCHEMA {PAST}"]
    for table in TABLES.values():
        ddl.append(f"CREATE TABLE {table.name} ({', '.join(column.sql for column in table.columns)})")
        ddl.append(f"COMMENT ON TABLE {table.name} IS {_literal(table.comment)}")
        ddl.extend(_column_comments(table))
    for view in VIEWS.values():
        ddl.append(f"CREATE VIEW {view.name} AS {view.query}")
        ddl.append(f"COMMENT ON VIEW {view.name} IS {_literal(view.comment)}")
        ddl.extend(_column_comments(view))
    for macro in MACROS.values():
        ddl.append(f"CREATE MACRO {macro.name}(d) AS TABLE {macro.query}")
        ddl.append(f"COMMENT ON MACRO TABLE {macro.name} IS {_literal(macro.comment)}")
    return ddl


def schema_fingerprint() -> str:
    """Return the SHA-256 of all DDL: another one means a working file of another schema."""
    return hashlib.sha256(";\n".join(statements()).encode()).hexdigest()


def create(con: duckdb.DuckDBPyConnection) -> None:
    """Make every table, view and macro in an empty database, in one transaction."""
    with transaction(con):
        for statement in statements():
            con.execute(statement)
        # A macro, because DuckDB has no comments on a schema or database and a table would stand among the analysts'.
        con.execute(f"CREATE MACRO {_FINGERPRINT_MACRO}() AS {_literal(schema_fingerprint())}")
        con.execute(f"COMMENT ON MACRO {_FINGERPRINT_MACRO} IS 'Fingerprint of the schema of this file'")


def is_empty(con: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether nothing was ever made in this database."""
    query = "SELECT (SELECT count(*) FROM duckdb_tables()) + (SELECT count(*) FROM duckdb_views() WHERE NOT internal)"
    return con.execute(query).fetchall() == [(0,)]


def is_current(con: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether this database was made with exactly this schema. Outside a transaction: one would end with a no."""
    try:  # to look it up among DuckDB's own thousands of functions takes twenty times as long
        return con.execute(f"SELECT {_FINGERPRINT_MACRO}()").fetchall() == [(schema_fingerprint(),)]
    except duckdb.CatalogException:
        return False


def _column_comments(relation: Table | View) -> list[str]:
    return [f'COMMENT ON COLUMN {relation.name}."{column.name}" IS {_literal(column.comment)}' for column in relation.columns]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
