"""cdc-tail's own tables, made and changed by SQL scripts that are safe to run again.

It knows none of the scripts: each package brings its own.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import psycopg

Connection = psycopg.Connection[Any]

# "cdct" and a number: advisory locks are shared with whatever else uses the database.
_DDL_LOCK: Final = (0x63646374, 1)

_INSTALLED: Final = """
CREATE SCHEMA IF NOT EXISTS cdc_tail;
CREATE TABLE IF NOT EXISTS cdc_tail.installed (
    script text PRIMARY KEY,
    digest text NOT NULL
);
COMMENT ON TABLE cdc_tail.installed IS 'which version of each script made the tables of cdc-tail';
"""

# Not to_regclass: within a transaction that has waited for a lock it may still remember that there
# was no such schema.
_IS_THERE: Final = """
SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'cdc_tail' AND tablename = 'installed'
"""

_NOTE: Final = """
INSERT INTO cdc_tail.installed (script, digest) VALUES (%s, %s)
ON CONFLICT (script) DO UPDATE SET digest = excluded.digest
"""


def lock_ddl(connection: Connection) -> None:
    """Keep other processes from changing catalog and relations until the transaction ends.

    PostgreSQL's CREATE .. IF NOT EXISTS checks and creates in two steps: of two sidecars that start
    together one would get a unique violation.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", _DDL_LOCK)


def install_script(connection: Connection, name: str, script: bytes) -> None:
    """Run a script in the caller's transaction, unless it is the one that was run last.

    Most starts find it so and lock nothing: an ALTER TABLE that changes nothing would still wait
    for whoever uses the table, who may be waiting for the lock of definitions.
    """
    digest = hashlib.sha256(script).hexdigest()
    if _digest(connection, name) == digest:
        return
    lock_ddl(connection)
    if _digest(connection, name) == digest:  # another process was first
        return
    connection.execute(_INSTALLED)
    connection.execute(script)
    connection.execute(_NOTE, (name, digest))


def _digest(connection: Connection, name: str) -> str | None:
    if connection.execute(_IS_THERE).fetchone() is None:
        return None
    found = connection.execute(
        "SELECT digest FROM cdc_tail.installed WHERE script = %s", (name,)
    ).fetchone()
    return None if found is None else str(found[0])
