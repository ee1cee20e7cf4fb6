"""What PostgreSQL makes of fields: it must take them, read them as meant and send them back."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from hypothesis import strategies as st

from cdc_tail.local.postgres import PostgresServer
from parsers.cql_types import CqlType, ListType, Native, SetType, VectorType
from parsers.render import render
from parsers.values import check, compile_type, from_pg, is_exact, to_json, to_pg
from tests.support.values import (
    DEFAULT_PG_TYPES,
    SCALARS,
    drawn,
    item,
    typed_values,
    values,
    varint,
)

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
EXAMPLES = 300


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    # One database for all: each test makes the table anew.
    with psycopg.connect(postgres.create_database("values"), autocommit=True) as opened:
        opened.execute("SET timezone = 'UTC'")
        yield opened
    postgres.drop_database("values")


def store(connection: psycopg.Connection, pg_type: str, fields: list[bytes]) -> None:
    connection.execute("DROP TABLE IF EXISTS v")
    connection.execute(f"CREATE TABLE v (n int4, v {pg_type})")
    with connection.cursor().copy("COPY v FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER)
        for n, field in enumerate(fields):
            copy.write(struct.pack(">hii", 2, 4, n) + field)
        copy.write(b"\xff\xff")


def sent_back(connection: psycopg.Connection) -> list[bytes]:
    """The fields as COPY gives them, length included."""
    with connection.cursor().copy(
        "COPY (SELECT v FROM v ORDER BY n) TO STDOUT (FORMAT binary)"
    ) as c:
        data = b"".join(bytes(part) for part in c)
    position, fields = len(HEADER), []
    while struct.unpack_from(">h", data, position)[0] == 1:
        size = max(0, struct.unpack_from(">i", data, position + 2)[0])
        fields.append(data[position + 2 : position + 6 + size])
        position += 6 + size
    return fields


def texts(connection: psycopg.Connection, expression: str) -> list[str | None]:
    query = f"SELECT ({expression})::text FROM v ORDER BY n"
    return [row[0] for row in connection.execute(query).fetchall()]


def iso(rendered: str) -> str:
    """PostgreSQL's spelling of a rendered date or timestamp: an era instead of a sign."""
    match = re.fullmatch(r"([-+]?\d+)(-\d\d-\d\d)(?: (.*)Z)?", rendered)
    assert match is not None
    year, rest, clock = int(match[1]), match[2], match[3]
    text = f"{year if year > 0 else 1 - year:04d}{rest}"
    if clock:
        text += " " + (clock.rstrip("0").rstrip(".") if "." in clock else clock) + "+00"
    return text + ("" if year > 0 else " BC")


def expected_text(name: str, value: bytes) -> str:
    rendered = render(Native(name), value)
    assert rendered is not None
    if isinstance(rendered, str):
        if name in ("date", "timestamp"):
            return iso(rendered)
        if name == "time":
            return rendered[:-3].rstrip("0").rstrip(".")
        if name == "blob":
            return "\\" + rendered[1:]
        return rendered
    if isinstance(rendered, bool):
        return "true" if rendered else "false"
    return str(rendered)


@pytest.mark.parametrize("name", sorted(SCALARS))
def test_scalars(connection: psycopg.Connection, name: str) -> None:
    pg_type = DEFAULT_PG_TYPES[name]
    compiled = compile_type(Native(name), pg_type)
    written = [v for v in drawn(values(Native(name)), EXAMPLES) if not check(compiled, v)]
    fields = [to_pg(compiled, value) for value in written]
    store(connection, pg_type, fields)
    back = sent_back(connection)
    assert back == fields
    for value, field in zip(written, back, strict=True):
        if is_exact(compiled, value):
            assert from_pg(compiled, field[4:]) == value
    if name == "duration":
        check_intervals(connection, written)
        return
    expression = "host(v)" if name == "inet" else "v"
    for value, text in zip(written, texts(connection, expression), strict=True):
        assert text is not None
        if name in ("varint", "decimal"):
            assert Decimal(text) == Decimal(str(render(Native(name), value)))
        elif name in ("float", "double"):
            rendered = render(Native(name), value)
            # The fewest digits need not be the same: a tie may fall on either side.
            layout = ">f" if name == "float" else ">d"
            assert text == rendered or struct.pack(layout, float(text)) == value
        elif name == "inet":
            assert (len(value) == 16) == (":" in text)
        else:
            assert text == expected_text(name, value)


def check_intervals(connection: psycopg.Connection, written: list[bytes]) -> None:
    months = texts(connection, "extract(year FROM v) * 12 + extract(month FROM v)")
    days = texts(connection, "extract(day FROM v)")
    hours = texts(connection, "extract(hour FROM v)")
    rest = texts(connection, "extract(minute FROM v) * 60000000 + extract(microseconds FROM v)")
    units = {"y": 12, "mo": 1, "d": 1, "h": 3600 * 10**9, "m": 60 * 10**9}
    units |= {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
    for n, value in enumerate(written):
        rendered = str(render(Native("duration"), value))
        sign = -1 if rendered.startswith("-") else 1
        parts = [0, 0, 0]
        for amount, unit in re.findall(r"(\d+)([a-z]+)", rendered):
            place = {"y": 0, "mo": 0, "d": 1}.get(unit, 2)
            parts[place] += int(amount) * units[unit]
        micros = int(Decimal(hours[n] or 0)) * 3600 * 10**6 + int(Decimal(rest[n] or 0))
        got = [int(Decimal(months[n] or 0)), int(Decimal(days[n] or 0)), micros]
        assert got == [sign * parts[0], sign * parts[1], sign * (parts[2] // 1000)]


@pytest.mark.parametrize("name", sorted(SCALARS))
def test_arrays(connection: psycopg.Connection, name: str) -> None:
    pg_type = DEFAULT_PG_TYPES[name] + "[]"
    element = Native(name)
    types: list[CqlType] = [ListType(element, True)]
    if name != "duration":
        types.append(SetType(element, True))
    for cql_type in types:
        compiled = compile_type(cql_type, pg_type)
        single = compile_type(element, pg_type[:-2])
        written = [v for v in drawn(values(cql_type), 60) if not check(compiled, v)]
        store(connection, pg_type, [to_pg(compiled, value) for value in written])
        assert sent_back(connection) == [to_pg(compiled, value) for value in written]
        counts = texts(connection, "cardinality(v)")
        assert counts == [str(struct.unpack_from(">i", value)[0]) for value in written]
        store(
            connection,
            pg_type[:-2],
            [to_pg(single, values_of(v)[0]) for v in written if values_of(v)],
        )


def values_of(collection: bytes) -> list[bytes]:
    position, found = 4, []
    while position < len(collection):
        size = struct.unpack_from(">i", collection, position)[0]
        found.append(collection[position + 4 : position + 4 + size])
        position += 4 + size
    return found


def test_null_and_vector_elements(connection: psycopg.Connection) -> None:
    listed = compile_type(ListType(Native("int"), True), "int4[]")
    value = struct.pack(">i", 3) + item(b"\0\0\0\7") + item(None) + item(b"")
    store(
        connection,
        "int4[]",
        [to_pg(listed, value), to_pg(listed, struct.pack(">i", 0))],
    )
    assert texts(connection, "v") == ["{7,NULL,NULL}", "{}"]
    vector = compile_type(VectorType(Native("float"), 3), "float4[]")
    store(connection, "float4[]", [to_pg(vector, struct.pack(">fff", 1, -2.5, 1e30))])
    assert texts(connection, "v") == ["{1,-2.5,1e+30}"]


def test_json(connection: psycopg.Connection) -> None:
    pairs = drawn(typed_values(), 2 * EXAMPLES)
    fields, written = [], []
    for cql_type, value in pairs:
        compiled = compile_type(cql_type, "jsonb")
        if not check(compiled, value):
            fields.append(to_pg(compiled, value))
            written.append(to_json(compiled, value).decode())
    assert len(written) > EXAMPLES
    store(connection, "jsonb", fields)
    for ours, text in zip(written, texts(connection, "v"), strict=True):
        assert text is not None
        assert json.loads(text, parse_float=Decimal) == json.loads(ours, parse_float=Decimal)


def test_text_of_anything(connection: psycopg.Connection) -> None:
    fields, written = [], []
    for cql_type, value in drawn(typed_values(), EXAMPLES):
        compiled = compile_type(cql_type, "text")
        if value and not check(compiled, value):
            fields.append(to_pg(compiled, value))
            rendered = to_json(compiled, value).decode()
            if isinstance(cql_type, Native) and rendered.startswith('"'):
                rendered = json.loads(rendered)
            written.append(rendered)
    store(connection, "text", fields)
    assert texts(connection, "v") == written


def days(number: int) -> bytes:
    return struct.pack(">I", 2**31 + number)


def int64(number: int) -> bytes:
    return struct.pack(">q", number)


def decimal(unscaled: int, scale: int) -> bytes:
    return struct.pack(">i", scale) + varint(unscaled)


@pytest.mark.parametrize(
    ("name", "edge", "beyond"),
    [
        ("date", days(-2_440_588), days(-2_440_589)),
        ("date", days(2_145_042_905), days(2_145_042_906)),
        ("timestamp", int64(-210_866_803_200_000), int64(-210_866_803_200_001)),
        ("timestamp", int64(9_224_318_015_999_999), int64(9_224_318_016_000_000)),
        ("decimal", decimal(7, 16_383), decimal(7, 16_384)),
        ("varint", varint(2**435_411 - 1), varint(10**131_072)),
        ("varint", varint(-(2**435_411)), varint(-(10**131_072))),
        ("decimal", decimal(7, -131_071), decimal(7, -131_072)),
    ],
    ids=[
        *("first date", "last date", "first timestamp", "last timestamp", "smallest decimal"),
        *("largest varint", "least varint", "largest decimal"),
    ],
)
def test_limits_are_postgres_own(
    connection: psycopg.Connection, name: str, edge: bytes, beyond: bytes
) -> None:
    pg_type = DEFAULT_PG_TYPES[name]
    compiled = compile_type(Native(name), pg_type)
    store(connection, pg_type, [to_pg(compiled, edge)])
    assert sent_back(connection) == [to_pg(compiled, edge)]
    (text,) = texts(connection, "v")
    assert text is not None
    if pg_type == "numeric":
        assert Decimal(text) == Decimal(str(render(Native(name), edge)))
        literal = f"{render(Native(name), beyond)}"
    else:
        assert text == expected_text(name, edge)
        literal = iso(str(render(Native(name), beyond)))
    assert check(compiled, beyond) != 0
    if name != "decimal" or beyond[0] == 0xFF:
        with pytest.raises(psycopg.DataError):
            connection.execute("SELECT %s::" + pg_type, [literal])


def test_keys_that_are_refused_are_those_that_postgres_merges(
    connection: psycopg.Connection,
) -> None:
    zeros = [struct.pack(">d", 0.0), struct.pack(">d", -0.0)]
    compiled = compile_type(Native("double"), "float8")
    store(connection, "float8", [to_pg(compiled, value) for value in zeros])
    assert connection.execute("SELECT count(DISTINCT v) FROM v").fetchone() == (1,)
    key = compile_type(Native("double"), "float8", key=True)
    assert [check(key, value) == 0 for value in zeros] == [True, False]


@pytest.mark.parametrize("name", sorted(set(SCALARS) - {"duration", "decimal", "varint"}))
def test_distinct_keys_stay_distinct(connection: psycopg.Connection, name: str) -> None:
    # decimal is the exception: 1.0 and 1.00 are one clustering, but two partition keys.
    compiled = compile_type(Native(name), DEFAULT_PG_TYPES[name], key=True)
    found = {v for v in drawn(values(Native(name)), EXAMPLES) if not check(compiled, v)}
    store(connection, DEFAULT_PG_TYPES[name], [to_pg(compiled, value) for value in found])
    row = connection.execute("SELECT count(DISTINCT v) FROM v").fetchone()
    assert row == (len(found),)


def test_json_keys_stay_distinct(connection: psycopg.Connection) -> None:
    pair = typed_values(ordered=True).flatmap(
        lambda one: st.tuples(st.just(one[0]), st.just(one[1]), values(one[0]))
    )
    for cql_type, left, right in drawn(pair, 100):
        compiled = compile_type(cql_type, "jsonb", key=True)
        if check(compiled, left) or check(compiled, right) or left == right:
            continue
        if "decimal" in repr(cql_type):
            continue  # 1.0 and 1.00 are one clustering
        ours = [to_json(compiled, value).decode() for value in (left, right)]
        same = connection.execute("SELECT %s::jsonb = %s::jsonb", ours).fetchone()
        # Trailing nulls of tuples may be absent: those are one key to Cassandra, too.
        assert same == (ours[0] == ours[1],)
