"""The worked examples of the format page: bytes of a real log, field by field."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from tests.reference.cursor import Cursor
from tests.reference.descriptor import parse_index, parse_name, read_descriptor
from tests.reference.entries import Entry, read_entries
from tests.reference.errors import DecodeError, Truncated, UnknownTable
from tests.reference.model import Cell, Liveness, Row
from tests.reference.mutation import read_mutation
from tests.reference.schema import table
from tests.reference.sections import Section
from tests.reference.versions import LOG_VERSIONS

TABLE = table(
    "ks",
    "a",
    "11111111-2222-3333-4444-555555555555",
    partition_key="k int",
    regular="v text; n int; m map<text, int>",
)
SCHEMA = {TABLE.id: TABLE}

HEADER = bytes.fromhex("00000008 000001a2082a0dbd 0002 7b7d e53fb94e")
INSERT = bytes.fromhex(
    "0000002c 139cb3ff 01 11111111222233334444555555555555 0400000001 10 fce9d96a43c001 00 00"
    "010176 01 2400 08036f6e65 01 6f6addf4"
)
UPDATE = bytes.fromhex(
    "00000040 57989e8c 01 11111111222233334444555555555555 0400000001 10 fce9d96a43c002 f015038999"
    "3c 02016e016d 01 20 02000000 00000007 01 02000000 0178 0400000009 01 88ab4f52"
)


def only_row(entry_bytes: bytes) -> Row:
    section = Section(62167, 62167 + 8 + len(entry_bytes), 62175, entry_bytes)
    (entry,) = read_entries(section)
    assert isinstance(entry, Entry)
    assert entry.end == 62175 + len(entry_bytes)
    (update,) = read_mutation(entry.mutation, LOG_VERSIONS[8], SCHEMA).updates
    assert update.key == bytes.fromhex("00000001")
    (row,) = update.unfiltereds
    assert isinstance(row, Row)
    return row


def test_header() -> None:
    descriptor = read_descriptor(HEADER)
    assert (descriptor.version.number, descriptor.segment_id) == (8, 0x000001A2082A0DBD)
    assert (descriptor.compressor, descriptor.encryption, descriptor.length) == (None, None, 20)


def test_insert() -> None:
    row = only_row(INSERT)
    assert row.liveness == Liveness(1700000000000001)
    assert row.cells == (Cell("v", 1700000000000001, value=b"one", flags=0x08),)


def test_update_with_ttl() -> None:
    row = only_row(UPDATE)
    assert row.liveness is None
    expiring = Cell("", 1700000000000002, 60, 1795433369, flags=0x02)
    assert row.cells == (
        replace(expiring, column="n", value=b"\0\0\0\7"),
        replace(expiring, column="m", path=b"x", value=b"\0\0\0\x09"),
    )


@pytest.mark.parametrize("cut", range(1, len(INSERT) - 12))
def test_a_cut_mutation_is_an_error(cut: int) -> None:
    with pytest.raises(DecodeError):
        read_mutation(INSERT[8 : 8 + 44 - cut], LOG_VERSIONS[8], SCHEMA)


def test_bytes_left_over_are_an_error() -> None:
    with pytest.raises(DecodeError, match="left behind"):
        read_mutation(INSERT[8:-4] + b"\0", LOG_VERSIONS[8], SCHEMA)


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(UnknownTable) as raised:
        read_mutation(INSERT[8:-4], LOG_VERSIONS[8], {})
    assert raised.value.table_id == UUID("11111111-2222-3333-4444-555555555555")


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("7f", 127),
        ("8080", 128),
        ("bfff", 16383),
        ("c04000", 16384),
        ("fe01000000000000", 1 << 48),
        ("ffffffffffffffffff", (1 << 64) - 1),
    ],
)
def test_unsigned_vints(encoded: str, value: int) -> None:
    assert Cursor(bytes.fromhex(encoded)).uvint() == value


@pytest.mark.parametrize(("encoded", "value"), [("00", 0), ("01", -1), ("02", 1), ("8081", -65)])
def test_signed_vints(encoded: str, value: int) -> None:
    assert Cursor(bytes.fromhex(encoded)).svint() == value


def test_reads_beyond_the_limit_are_truncated() -> None:
    with pytest.raises(Truncated):
        Cursor(b"abcd", 0, 3).u32()


def test_names_and_indexes() -> None:
    assert parse_name("CommitLog-7-1795433369000.log") == (7, 1795433369000)
    assert parse_name("CommitLog-7-1795433369000_cdc.idx") == (7, 1795433369000)
    assert parse_index(b"62174") == (62174, False)
    assert parse_index(b"87557\nCOMPLETED") == (87557, True)
    assert parse_index(b"") is None
    with pytest.raises(DecodeError):
        parse_name("CommitLog-7.log")
