"""Seeds: mutations, small segments and schema changes of the golden cases, and random mutations."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from uuid import UUID

from parsers._batch import Batch
from parsers._decoder import Decoder
from parsers.system_tables import SCHEMA_TABLES
from tests.fuzz.store import Store
from tests.fuzz.tables import Tables
from tests.fuzz.target import (
    COMPLETED,
    DEAD_STATE,
    FIRST,
    GROW,
    LATE,
    LIVE,
    PARTITION_STATE,
    ROW_STATE,
    SECOND,
    SEGMENT,
    SKIP_DAMAGE,
    VERSIONS,
    joined,
)
from tests.reference.catalog import Catalog
from tests.reference.descriptor import read_descriptor
from tests.reference.encode import encode_mutation
from tests.reference.generate.mutations import Mutations
from tests.reference.segment import Decoded, read_segment
from tests.reference.versions import LOG_VERSIONS
from tests.support.golden import golden_cases
from tests.support.segments import encoded_segment, segment_of

Piece = tuple[int, bytes]
_SMALL_BYTES = 700
_ALTERING = (
    "columns_added_and_dropped",
    "key_column_renamed",
    "materialized_view",
    "static_columns_dropped",
    "table_created_again",
    "user_types",
)
_OPTIONS = (0, LIVE, COMPLETED, LIVE | COMPLETED, LIVE | GROW, SKIP_DAMAGE | COMPLETED)


def write_seeds(folder: Path) -> int:
    """Write the seeds into `folder`, named by their content; returns how many they are."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for seed in _seeds():
        (folder / f"seed-{zlib.crc32(seed):08x}").write_bytes(seed)
        count += 1
    return count


def _seeds() -> Iterator[bytes]:
    tables = Tables()
    golden: dict[int, list[bytes]] = {}
    for version, mutation in _golden_mutations(tables):
        golden.setdefault(version, []).append(mutation)
    for version, mutations in golden.items():
        for at in range(0, len(mutations), 4):
            yield from _inputs(tables, version, mutations[at : at + 4])
    for version, changes in _golden_schema_changes():
        for at in range(0, len(changes), 3):
            some = changes[at : at + 3]
            yield bytes([VERSIONS.index(version), 0]) + joined([(FIRST, c) for c in some])
            yield bytes([SEGMENT, COMPLETED]) + segment_of([some], version=version).data
    for number in range(400):
        choose = Random(number)
        version = VERSIONS[number % len(VERSIONS)]
        rules = LOG_VERSIONS[version]
        own = [table for table in tables.reference.values() if table.keyspace == "random"]
        draw = Mutations(choose, rules, own)
        drawn = [
            encode_mutation(draw.mutation(), rules, tables.reference)
            for _ in range(choose.choice((1, 2, 4)))
        ]
        yield from _inputs(tables, version, [m for m in drawn if len(m) <= 4 * _SMALL_BYTES])


def _inputs(tables: Tables, version: int, mutations: list[bytes]) -> Iterator[bytes]:
    """The mutations as pieces, with the states that they leave; and as a segment."""
    if not mutations:
        return
    head = bytes([VERSIONS.index(version), LATE * (len(mutations) % 2)])
    pieces: list[Piece] = [(FIRST, m) for m in mutations]
    yield head + joined(pieces + [(SECOND, m) for m in mutations[1:]])
    states = list(_states(tables, version, mutations))
    if states:
        yield head + joined(pieces[:2] + states[:3])
    number = zlib.crc32(mutations[0])
    options = _OPTIONS[number % len(_OPTIONS)]
    file = segment_of([mutations[:2], mutations[2:]], version=version)
    yield bytes([SEGMENT, options]) + bytes(file.data)
    if number % 8 == 0:
        yield from _encoded(version, options, segment_of([mutations], version=version).data)


def _states(tables: Tables, version: int, mutations: list[bytes]) -> Iterator[Piece]:
    decoder = Decoder(version)
    batch = Batch(tables.catalog)
    for number, mutation in enumerate(mutations):
        decoder.add(mutation, batch, segment_id=1, offset=number + 1)
    for compiled in batch.touched():
        for mirrored in tables.mirrored[compiled.table.id]:
            store = Store(mirrored)
            store.apply(batch, 1_796_000_000)
            for fields in store.rows.values():
                yield ROW_STATE, fields[store.state_at] or b""
            for states in store.dead.values():
                yield from ((DEAD_STATE, state) for state in states)
            for states in store.partitions.values():
                yield from ((PARTITION_STATE, state) for state in states)


def _encoded(version: int, options: int, file: bytearray) -> Iterator[bytes]:
    """A segment's one section as each compressor and the cipher store it."""
    import cramjam
    from cryptography.hazmat.primitives import padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    body = bytes(file[28:-8])
    stored = {
        "LZ4Compressor": len(body).to_bytes(4, "little")
        + bytes(cramjam.lz4.compress_block(body, store_size=False)),
        "SnappyCompressor": bytes(cramjam.snappy.compress_raw(body)),
        "DeflateCompressor": zlib.compress(body),
        "ZstdCompressor": bytes(cramjam.zstd.compress(body)),
    }
    for name, section in stored.items():
        params: dict[str, object] = {"compressionClass": name, "compressionParameters": None}
        yield bytes([SEGMENT, options]) + encoded_segment(
            [(len(body), section)], params=params, version=version
        )
    from tests.fuzz.target import KEYS

    iv = bytes(range(16))
    padder = padding.PKCS7(128).padder()
    compressed = len(body).to_bytes(4) + stored["LZ4Compressor"]
    padded = padder.update(compressed) + padder.finalize()
    encryptor = Cipher(algorithms.AES(KEYS["fuzz"]), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padded) + encryptor.finalize()
    chunk = len(sealed).to_bytes(4) + len(compressed).to_bytes(4) + sealed
    params = {
        "compressionClass": "LZ4Compressor",
        "compressionParameters": {},
        "encCipher": "AES/CBC/PKCS5Padding",
        "encKeyAlias": "fuzz",
        "encIV": iv.hex(),
    }
    yield bytes([SEGMENT, options]) + encoded_segment(
        [(len(body), chunk)], params=params, version=version
    )


def _golden_schema_changes() -> Iterator[tuple[int, list[bytes]]]:
    """(log version, changes of the case's keyspace in order) of those cases that alter schemas."""
    ids = {table.id for table in SCHEMA_TABLES.values()}
    for case in (case for name in _ALTERING for case in golden_cases(name)):
        for packed in sorted(case.folder.glob("*.log.gz")):
            data = gzip.decompress(packed.read_bytes())
            yield (
                read_descriptor(data).version.number,
                [
                    item.entry.mutation
                    for item in read_segment(data, Catalog())
                    if isinstance(item, Decoded)
                    and len(item.entry.mutation) <= 2 * _SMALL_BYTES
                    and {update.table_id for update in item.mutation.updates} <= ids
                    and item.mutation.updates[0].key == case.facts["keyspace"].encode()
                ][:9],
            )


def _golden_mutations(tables: Tables) -> Iterator[tuple[int, bytes]]:
    """(log version, mutation) of those golden mutations that are of fuzzed tables."""
    ids = {(t.keyspace, t.name): t.id for t in tables.tables}
    for case in golden_cases():
        keyspace = case.name.removesuffix("_v8")
        if not any(keyspace == name for name, _ in ids):
            continue
        for packed in sorted(case.folder.glob("*.log.gz")):
            data = gzip.decompress(packed.read_bytes())
            catalog = Catalog()
            taken = 0
            for item in read_segment(data, catalog):
                if not isinstance(item, Decoded) or len(item.entry.mutation) > _SMALL_BYTES:
                    continue
                raw = item.entry.mutation
                known = 0
                for update in item.mutation.updates:
                    name = catalog[update.table_id].name
                    own: UUID | None = ids.get((keyspace, name))
                    if own is not None:
                        raw = raw.replace(update.table_id.bytes, own.bytes)
                        known += 1
                if known and taken < 60:
                    taken += 1
                    yield read_descriptor(data).version.number, raw
