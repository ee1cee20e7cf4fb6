# cython: language_level=3, autotestdict=False, auto_pickle=False
"""The key of a row as Cassandra has it, told from the row as the mirror has it."""
from libc.stdint cimport int32_t
from libc.string cimport memset

from parsers._arena cimport Arena, arena_free, arena_init
from parsers._buffer cimport Buffer, buffer_free, buffer_init
from parsers._clustering cimport canonical_values, put_clustering
from parsers._cursor cimport Slice
from parsers._model cimport Row
from parsers._relation cimport Relation
from parsers._state cimport decode_state
from parsers._values cimport value_from_pg


def row_key(Relation relation not None, bytes state not None, list fields not None):
    """(partition key, clustering in wire form) of a mirrored row: what Batch.touch takes.

    `fields` are the contents of its key columns in PostgreSQL's binary form, `state` that of
    `_cdc`, which tells what they can't. Raises SchemaMismatch where the state is damaged.
    """
    cdef Arena arena
    cdef Row row
    cdef int32_t n = relation.code.n_partition_key
    memset(&row, 0, sizeof(Row))
    arena_init(&arena)
    try:
        decode_state(relation, &arena, state, <int32_t>len(state), False, &row)
        if relation.keeps_partition_key:
            partition_key = row.partition_key[:row.partition_key_length]
        else:
            partition_key = partition_key_of(relation, fields[:n])
        if relation.static:
            return partition_key, b""
        if relation.keeps_clustering:
            return partition_key, row.clustering[:row.clustering_length]
        return partition_key, clustering_of(relation, fields[n:], &arena)
    finally:
        arena_free(&arena)


cdef bytes partition_key_of(Relation relation, list fields):
    """Format page 5.2: the value itself, or each with its length and a zero byte."""
    values = [value_of(relation, i, field) for i, field in enumerate(fields)]
    if len(values) == 1:
        return values[0]
    return b"".join([len(v).to_bytes(2, "big") + v + b"\0" for v in values])


cdef bytes clustering_of(Relation relation, list fields, Arena *arena):
    cdef Buffer wire
    cdef Slice slices[64]
    cdef int32_t i, first = relation.code.n_partition_key
    cdef bytes value
    values = [value_of(relation, first + i, field) for i, field in enumerate(fields)]
    # PostgreSQL has no primary key of more than 32 columns.
    if len(values) > 64:
        raise ValueError(f"{len(values)} clustering columns")
    for i, value in enumerate(values):
        slices[i].data = value
        slices[i].length = <int32_t>len(value)
    buffer_init(&wire)
    try:
        canonical_values(relation.code, slices, arena)
        put_clustering(relation.code, slices, &wire)
        return wire.data[:wire.length]
    finally:
        buffer_free(&wire)


cdef bytes value_of(Relation relation, int32_t key_column, bytes field):
    cdef Buffer raw
    buffer_init(&raw)
    try:
        value_from_pg(relation.key_types[key_column], field, len(field), &raw)
        return raw.data[:raw.length]
    finally:
        buffer_free(&raw)
