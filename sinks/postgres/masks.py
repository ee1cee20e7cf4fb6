"""The masks of a mirror's columns: as the catalog notes them, and as the decoder takes them.

The catalog has "hash:FINGERPRINT" (of the key: with another one no hash would be found again),
"null" or "constant:VALUE". What is masked is never told to PostgreSQL, in no form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql

from cdc_tail.errors import ConfigError
from parsers.masking import Mask
from parsers.schema import Table
from sinks.postgres.catalog import Connection, Mirror, MirrorColumn
from sinks.postgres.relation import type_sql
from sinks.postgres.typemap import CONSTANT, hash_mask, is_mask


def column_masks(
    connection: Connection, mirrors: Iterable[Mirror], key: bytes | None
) -> dict[str, Mask]:
    """The masks of all columns by Cassandra's name; `key` is mirror.mask_key.

    Raises ConfigError where the key is missing or another one, and for a constant that is no value
    of its column's type.
    """
    masks = {}
    for mirror in mirrors:
        for column in mirror.columns:
            if column.mask is not None:
                masks[column.cql_name] = _mask(connection, mirror, column, column.mask, key)
    return masks


def plain_masks(choices: Mapping[str, str], key: bytes | None, table: Table) -> dict[str, Mask]:
    """The masks that were chosen for a table where nothing becomes PostgreSQL's; for columns of it.

    `choices` are those of `Mapping`, which were checked.
    """
    masks = {}
    for column in (*table.statics, *table.regulars):
        choice = choices.get(f"{table.keyspace}.{table.name}.{column.name}", "")
        if is_mask(choice):
            assert key is not None
            text = choice.removeprefix(CONSTANT) if choice.startswith(CONSTANT) else None
            masks[column.name] = Mask("hash" if choice == "hash" else "constant", key, text=text)
    return masks


def _mask(
    connection: Connection, mirror: Mirror, column: MirrorColumn, noted: str, key: bytes | None
) -> Mask:
    table = f"{mirror.keyspace}.{mirror.table_name}"
    if key is None or (noted.startswith("hash:") and noted != hash_mask(key)):
        raise ConfigError(
            f"column {column.cql_name} is masked, and mirror.mask_key is "
            + ("not set" if key is None else "not the one that the mirror was made with"),
            hint="set mirror.mask_key (CDC_TAIL_MIRROR_MASK_KEY), the same everywhere",
            table=table,
        )
    if noted.startswith("hash:"):
        return Mask("hash", key)
    if noted == "null":
        return Mask("constant", key)
    value = noted.removeprefix(CONSTANT)
    cast = type_sql(column.cql_type, column.pg_type)
    try:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.execute(
                sql.SQL("SELECT v, v::text FROM (SELECT {}::{} AS v) AS constant").format(
                    sql.Literal(value), cast
                )
            )
            assert cursor.pgresult is not None  # of a SELECT
            field, text = cursor.pgresult.get_value(0, 0), cursor.pgresult.get_value(0, 1)
    except psycopg.DataError as error:
        raise ConfigError(
            f"column {column.cql_name} is masked by the constant {value!r}, which is no"
            f" {column.pg_type}: {error.diag.message_primary}",
            hint="give a value of that type",
            table=table,
        ) from error
    return Mask("constant", key, field, None if text is None else text.decode())
