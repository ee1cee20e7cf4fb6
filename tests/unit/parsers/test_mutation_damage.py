"""Damaged and impossible mutations: an error, or what the reference says of the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_tail.errors import SegmentCorrupt, UnknownTable
from tests.reference.catalog import Catalog as ReferenceCatalog
from tests.reference.encode import uvint
from tests.reference.errors import DecodeError
from tests.reference.generate.log import random_mutations
from tests.reference.mutation import read_mutation
from tests.reference.versions import LOG_VERSIONS
from tests.support.decoded import CompiledDecoder, of_reference, of_views, views_of
from tests.support.tables import IDS, table

VERSIONS = sorted(LOG_VERSIONS)
ROWS = table(
    "CREATE TABLE ks.rows (k int, c text, d int, s int static, v text, n int, l list<int>,"
    f" m map<text, int>, PRIMARY KEY (k, c, d)) WITH ID = {IDS[0]}"
)


def damaged_rows() -> Iterator[tuple[str, bytes]]:
    """Bodies of a partition update of `ks.rows` after flags and minima, and what is wrong."""
    one, end = b"\x00\x01c\x00\x00\x00\x01", b"\x01"
    yield "flags of a row", b"\x01\x01n\x01" + b"\x03" + one + end
    yield "flags of a row", b"\x01\x01n\x01" + b"\x21" + one + end
    yield "a static row among", b"\x01\x01n\x01" + b"\xa4\x01" + one + b"\x00" + end
    yield "TTL and no timestamp", b"\x01\x01n\x01" + b"\x28" + one + b"\x05\x05" + end
    yield "impossible TTL", b"\x00\x01" + b"\x2c" + one + b"\x00\x00\x00" + end
    yield "beyond its columns", b"\x01\x01n\x01" + b"\x04" + one + b"\x00\x02" + end
    yield "names a column twice", b"\x02\x01n\x01n\x01" + b"\x24" + one + b"\x00" + end
    yield "flags of a cell", b"\x01\x01n\x01" + b"\x24" + one + b"\x00" + b"\x20" + end
    yield "flags of a cell", b"\x01\x01n\x01" + b"\x24" + one + b"\x00" + b"\x09" + bytes(5) + end
    yield "flags of a cell", b"\x01\x01n\x01" + b"\x24" + one + b"\x00" + b"\x0f\x01\x01" + end
    yield "TTL of a row that has none", b"\x01\x01n\x01\x24" + one + b"\x00\x1e" + end
    yield "timestamp that means none", b"\x01\x01n\x01\x20" + one + b"\x0c" + end
    yield "impossible number of elements", b"\x01\x01l\x01\x24" + one + b"\x00\xf0\xff\xff\xff\xff"
    yield "impossible number of columns", b"\xf0\xff\xff\xff\xff"
    yield "a clustering", b"\x00\x01\x24\x03\x00\x00\x00\x01\x00" + end
    yield "a clustering", b"\x00\x01\x24\x10\x01c\x00\x00\x00\x01\x00" + end
    yield "a clustering", b"\x00\x01\x24\x00\x00\x00\x00\x00\x01\x00" + end
    yield "impossible kind", b"\x00\x01\x02\x03\x00\x00" + end
    yield "too many values", b"\x00\x01\x02\x01\x00\x03" + end
    yield "within a range tombstone", b"\x00\x01\x02\x01\x00\x00\x00\x00" + end
    yield (
        "two cells for one place",
        b"\x01\x01m\x01\x24" + one + b"\x00\x02" + b"\x0c\x01a" * 2 + end,
    )


@pytest.mark.parametrize(("reason", "body"), list(damaged_rows()))
def test_impossible_bytes_are_refused(reason: str, body: bytes) -> None:
    head = b"\x01" + ROWS.id.bytes + b"\x04\x00\x00\x00\x01"
    with pytest.raises(SegmentCorrupt, match=reason):
        views_of(head + b"\x10" + b"\x00\x00\x00" + body, ROWS)


@pytest.mark.parametrize("flags", [0x02, 0x20, 0x80])
def test_impossible_flags_of_a_partition_update_are_refused(flags: int) -> None:
    head = b"\x01" + ROWS.id.bytes + b"\x04\x00\x00\x00\x01"
    with pytest.raises(SegmentCorrupt, match="flags of a partition update"):
        views_of(head + bytes([flags]) + b"\x00\x00\x00\x00\x01", ROWS)


def test_composite_partition_keys_have_exactly_their_components() -> None:
    composite = table(f"CREATE TABLE ks.t (a int, b text, PRIMARY KEY ((a, b))) WITH ID = {IDS[2]}")
    whole = b"\x00\x04\x00\x00\x00\x01\x00" + b"\x00\x02bb\x00"
    for wrong in (whole[:-1], whole[:7], whole + b"\x00", b"\xff\xff" + whole[2:], b""):
        raw = b"\x01" + composite.id.bytes + uvint(len(wrong)) + wrong + b"\x01"
        with pytest.raises(SegmentCorrupt, match="composite partition key"):
            views_of(raw, composite)
    raw = b"\x01" + composite.id.bytes + uvint(len(whole)) + whole + b"\x01"
    assert views_of(raw, composite)[0].partition_key == whole


def test_counts_beyond_the_bytes_are_refused_before_memory_is_taken() -> None:
    for count in (0, 3, 1 << 31, (1 << 64) - 1):
        with pytest.raises(SegmentCorrupt, match="number of partition updates"):
            views_of(uvint(count) + ROWS.id.bytes + b"\x00\x01", ROWS)


Damage = Callable[[bytes], Iterator[bytes]]


def cuts(raw: bytes) -> Iterator[bytes]:
    for end in range(len(raw)):
        yield raw[:end]


def flips(raw: bytes) -> Iterator[bytes]:
    for position in range(len(raw)):
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[position] ^= 1 << bit
            yield bytes(flipped)


def duplications(raw: bytes) -> Iterator[bytes]:
    for position in range(len(raw)):
        yield raw[:position] + raw[position : position + 3] + raw[position:]


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32), log_version=st.sampled_from(VERSIONS))
def test_damaged_mutations_are_refused_or_mean_what_the_reference_says(
    seed: int, log_version: int
) -> None:
    catalog, compiled = ReferenceCatalog(), CompiledDecoder()
    version = LOG_VERSIONS[log_version]
    small = []
    for mutation, raw in random_mutations(seed, log_version, 60, tables=6):
        compiled.learn(compiled.views(raw, log_version))
        catalog.learn(mutation)
        if len(raw) < 300:
            small.append(raw)
    for raw in islice(small, 8):
        damages: tuple[Damage, ...] = (cuts, flips, duplications)
        for damage in damages:
            for damaged in damage(raw):
                try:
                    views = compiled.views(damaged, log_version)
                except (SegmentCorrupt, UnknownTable):
                    continue
                assert damage is not cuts
                try:
                    mutation = read_mutation(damaged, version, catalog)
                except DecodeError as error:
                    raise AssertionError(f"{damaged.hex()} decodes, yet {error}") from error
                assert of_views(views) == of_reference(mutation, version, catalog)
