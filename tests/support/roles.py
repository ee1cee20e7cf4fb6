r"""Runs deploy/sql/roles.sql as psql would: its variables and \gexec, in one session."""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg import sql

SCRIPT = Path(__file__).parents[2] / "deploy" / "sql" / "roles.sql"
SHARED_ROLES = ("cdc_tail", "cdc_tail_reader")


def create_roles(dsn: str, login: str, password: str) -> None:
    """Execute the script in the database of `dsn`, as its (super)user."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        text = SCRIPT.read_text(encoding="utf-8")
        text = text.replace(':"login"', sql.Identifier(login).as_string(connection))
        text = text.replace(":'password'", sql.Literal(password).as_string(connection))
        lines = [line for line in text.splitlines() if not line.startswith(("\\", "--"))]
        for statement in "\n".join(lines).split(";"):
            for part in statement.split("\n\n"):
                if not part.strip():
                    continue
                generator, is_generator, _ = part.partition("\\gexec")
                if is_generator:
                    for (generated,) in connection.execute(generator.encode()).fetchall():
                        connection.execute(generated)
                    continue
                connection.execute(part.encode())


def drop_roles(dsn: str, *logins: str) -> None:
    """Drop the roles and all that they own in the database of `dsn`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in (*logins, *SHARED_ROLES):
            role = sql.Identifier(name)
            found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,))
            if found.fetchone() is not None:
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
                connection.execute(sql.SQL("DROP ROLE {}").format(role))


def without_login(dsn: str) -> str:
    """Where the database is, without a role."""
    found = psycopg.conninfo.conninfo_to_dict(dsn)
    return psycopg.conninfo.make_conninfo(
        "", **{k: v for k, v in found.items() if k not in ("user", "password")}
    )
