"""A random log: segments of random mutations of random tables, whose definitions stand at its
start.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from random import Random

from tests.reference.bootstrap import SYSTEM_SCHEMA
from tests.reference.encode import encode_mutation
from tests.reference.generate.mutations import Mutations
from tests.reference.generate.tables import definition, random_table
from tests.reference.model import Mutation
from tests.reference.versions import LOG_VERSIONS

FIRST_SEGMENT_ID = 1_700_000_000_000
_WRITETIME_US = 1_600_000_000_000_000


def random_mutations(
    seed: int, log_version: int, count: int, *, tables: int = 20, vectors: bool = False
) -> Iterator[tuple[Mutation, bytes]]:
    """`count` random mutations, and before them one that defines each table; each with its
    bytes.
    """
    choose = Random(seed)
    version = LOG_VERSIONS[log_version]
    chosen = [random_table(choose, number, vectors=vectors) for number in range(tables)]
    schema = dict(SYSTEM_SCHEMA) | {table.id: table for table in chosen}
    draw = Mutations(choose, version, chosen)
    for number, table in enumerate(chosen):
        mutation = definition(table, _WRITETIME_US + number, version)
        yield mutation, encode_mutation(mutation, version, schema)
    for _ in range(count):
        mutation = draw.mutation()
        yield mutation, encode_mutation(mutation, version, schema)


def _word(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "big")


def _marker(segment_id: int, at: int, next_at: int) -> bytes:
    crc = zlib.crc32(_word(segment_id) + _word(segment_id >> 32) + _word(at))
    return _word(next_at) + _word(crc)


def segment(log_version: int, segment_id: int, mutations: list[bytes]) -> bytes:
    """An uncompressed segment that holds the mutations in sections of a few hundred."""
    low, high = _word(segment_id), _word(segment_id >> 32)
    crc = zlib.crc32(_word(log_version) + low + high + _word(2) + b"{}")
    out = bytearray(_word(log_version) + high + low + b"\0\2{}" + _word(crc))
    for start in range(0, len(mutations), 300):
        at = len(out)
        out += bytes(8)
        for mutation in mutations[start : start + 300]:
            size = _word(len(mutation))
            out += size + _word(zlib.crc32(size)) + mutation
            out += _word(zlib.crc32(mutation, zlib.crc32(size)))
        out[at : at + 8] = _marker(segment_id, at, len(out))
    return bytes(out + bytes(64))
