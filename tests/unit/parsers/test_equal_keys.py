"""Keys of different bytes that PostgreSQL holds equal: one row, or refused, never two rows."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from parsers._batch import Batch
from parsers._decoder import Decoder
from tests.fuzz.tables import Tables
from tests.reference.encode import encode_mutation
from tests.reference.model import Liveness, Mutation, PartitionUpdate, Row
from tests.reference.versions import LOG_VERSIONS

INT_1, TEXT_A = b"\0\0\0\4\0\0\0\1", b"\0\0\0\1a"
NULL = b"\xff\xff\xff\xff"
EMPTY_MAP = bytes(4)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Tables()


def add(
    tables: Tables, batch: Batch, name: str, key: bytes, rows: Iterable[tuple[bytes, ...]]
) -> str | None:
    """Insert rows of these clusterings; returns why the decoder did not take them."""
    (table,) = (t for t in tables.reference.values() if t.name == name and t.keyspace == "random")
    unfiltereds = tuple(Row(clustering, liveness=Liveness(1)) for clustering in rows)
    update = PartitionUpdate(table.id, f"random.{name}", key, unfiltereds=unfiltereds)
    raw = encode_mutation(Mutation((update,)), LOG_VERSIONS[7], tables.reference)
    match Decoder(7).add(raw, batch, segment_id=1, offset=1):
        case None:
            return None
        case ("malformed", _, (_, str(reason))):
            return reason
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize(
    ("first", "second", "rows"),
    [
        (INT_1 + NULL, INT_1, 1),
        (INT_1, INT_1 + NULL, 1),
        (NULL, NULL + NULL, 1),
        (INT_1 + TEXT_A, INT_1 + TEXT_A, 1),
        (INT_1 + TEXT_A, INT_1 + NULL, 2),
        (NULL + TEXT_A, INT_1 + TEXT_A, 2),
    ],
)
def test_a_tuple_may_end_before_its_nulls(
    tables: Tables, first: bytes, second: bytes, rows: int
) -> None:
    batch = Batch(tables.catalog)
    for clustering in (first, second):
        assert add(tables, batch, "frozen", EMPTY_MAP, [(clustering, EMPTY_MAP)]) is None
    assert not batch.rejections
    assert len(batch) == rows


def keys_of(flag: bytes) -> tuple[bytes, ...]:
    """A clustering of `random.keys` with these bytes as its boolean."""
    return (b"\1", bytes(6) + b"\x10\0\x80" + bytes(7), bytes(8), flag, bytes(4))


@pytest.mark.parametrize(("flag", "taken"), [(b"\0", True), (b"\1", True), (b"\2", False)])
def test_a_boolean_has_two_values(tables: Tables, flag: bytes, taken: bool) -> None:
    batch = Batch(tables.catalog)
    key = b"\0\1a\0" + b"\0\5\0\0\0\0\1\0" + b"\0\1b\0"
    assert add(tables, batch, "keys", key, [keys_of(flag)]) is None
    assert len(batch) == taken
    reasons = [rejected.reason for rejected in batch.rejections]
    assert [reason.endswith("a boolean as more than 1") for reason in reasons] == [True] * (
        not taken
    )


@pytest.mark.parametrize("end", [b"\1", b"\xff"])
def test_components_of_a_partition_key_end_in_zero(tables: Tables, end: bytes) -> None:
    batch = Batch(tables.catalog)
    key = b"\0\1a\0" + b"\0\5\0\0\0\0\1\0" + b"\0\1b" + end
    refused = add(tables, batch, "keys", key, [keys_of(b"\0")])
    assert refused is not None
    assert "bound of a query" in refused
    assert not len(batch)
