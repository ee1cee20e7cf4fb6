"""Rows of Cassandra as the bytes that it sent, and reads as of a second of ours.

It interprets no value: that is done by who knows the types.
"""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cassandra import ConsistencyLevel, ProtocolVersion
from cassandra.cluster import Session
from cassandra.protocol import ExecuteMessage, QueryMessage, ResultMessage, _ProtocolHandler
from cassandra.query import BoundStatement, PreparedStatement

from cdc_tail.errors import ConfigError

TIMEOUT_SECONDS: Final = 30.0

# Flags of a query's parameters (native protocol version 5, section 4.1.4).
_NOW_IN_SECONDS: Final = 0x0100


class _RawRows(ResultMessage):  # type: ignore[misc]
    """A result whose values stay the bytes that Cassandra sent."""

    def recv_results_rows(
        self, f: Any, _version: int, user_type_map: Any, result_metadata: Any, _policy: Any
    ) -> None:
        self.recv_results_metadata(f, user_type_map)
        metadata = self.column_metadata or result_metadata
        columns = range(len(metadata))
        data = f.read()
        count = int.from_bytes(data[:4], signed=True)
        position = 4
        length_of = struct.Struct(">i").unpack_from
        rows = []
        for _ in range(count):
            row: list[bytes | None] = []
            for _ in columns:
                (length,) = length_of(data, position)
                position += 4
                if length < 0:
                    row.append(None)
                else:
                    row.append(data[position : position + length])
                    position += length
            rows.append(row)
        self.column_names = [column[2] for column in metadata]
        self.column_types = [column[3] for column in metadata]
        self.parsed_rows = rows


class _AsOfNow:
    """Adds to a request the second that its reads take for the present."""

    now_s: int

    def _write_query_params(self, f: Any, protocol_version: int) -> None:
        body = io.BytesIO()
        super()._write_query_params(body, protocol_version)  # type: ignore[misc]
        written = body.getvalue()
        # Consistency level (2 bytes), then the flags; the second comes last of all parameters.
        (flags,) = struct.unpack_from(">I", written, 2)
        f.write(written[:2] + struct.pack(">I", flags | _NOW_IN_SECONDS) + written[6:])
        f.write(struct.pack(">i", self.now_s))


class _QueryAsOfNow(_AsOfNow, QueryMessage):  # type: ignore[misc]
    pass


class _ExecuteAsOfNow(_AsOfNow, ExecuteMessage):  # type: ignore[misc]
    pass


_AS_OF_NOW: Final = {QueryMessage: _QueryAsOfNow, ExecuteMessage: _ExecuteAsOfNow}


class RawHandler(_ProtocolHandler):  # type: ignore[misc]
    """For `Session.client_protocol_handler`: rows are lists of bytes or None.

    Every request gets `now_s`, our second when it was sent. From protocol version 5 on (Cassandra
    4.0) that is the present by which its reads tell TTLs; before, the coordinator's own clock.
    """

    message_types_by_opcode = _ProtocolHandler.message_types_by_opcode | {
        ResultMessage.opcode: _RawRows
    }

    @classmethod
    def encode_message(
        cls,
        msg: Any,
        stream_id: int,
        protocol_version: int,
        compressor: Any,
        allow_beta_protocol_version: bool,
    ) -> bytes:
        msg.now_s = int(time.time())
        as_of_now = _AS_OF_NOW.get(type(msg))
        if as_of_now is not None and protocol_version == ProtocolVersion.V5:
            told = as_of_now.__new__(as_of_now)
            told.__dict__.update(msg.__dict__)
            msg = told
        encoded: bytes = super().encode_message(
            msg, stream_id, protocol_version, compressor, allow_beta_protocol_version
        )
        return encoded


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the second that TTLs among them count from."""

    rows: list[list[bytes | None]]
    now_s: int


class RawReader:
    """Reads over a session of its own to the cluster that `session` is of."""

    def __init__(
        self, session: Session, consistency: str, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """`consistency` is a level as Cassandra names it. Raises ConfigError for another name."""
        level = ConsistencyLevel.name_to_value.get(consistency.upper())
        if level is None:
            raise ConfigError(
                f"{consistency} is no consistency level", hint="ONE, LOCAL_QUORUM, QUORUM or ALL"
            )
        self._session = session.cluster.connect()
        self._session.client_protocol_handler = RawHandler
        self._timeout_seconds = timeout_seconds
        self._level = level
        (version,) = session.execute("SELECT release_version FROM system.local").one()
        self.times_elements = int(version.partition(".")[0]) >= 5
        """Whether the version selects WRITETIME and TTL of multi-cell columns."""
        self.sole_host_id = _sole_host_id(session)
        """The host id of the only node of a cluster, None where there are more."""

    def prepare(self, statement: str) -> PreparedStatement:
        """The statement, ready for `read`. Raises what the driver raises."""
        return self._session.prepare(statement)

    def pages(
        self, statement: PreparedStatement, values: Sequence[bytes], page_rows: int
    ) -> Iterator[Page]:
        """The pages of a read; `values` are in the form of the protocol.

        The next page is on its way while one is in the caller's hands. Raises what the driver does.
        """
        bound = BoundStatement(statement)
        bound.values = list(values)
        bound.consistency_level = self._level
        bound.fetch_size = page_rows
        future = self._session.execute_async(bound, timeout=self._timeout_seconds)
        while True:
            rows = future.result().current_rows
            now_s = future.message.now_s
            more = future.has_more_pages
            if more:
                future.start_fetching_next_page()
            yield Page(rows, now_s)
            if not more:
                return

    def rows(self, statement: PreparedStatement, values: Sequence[bytes]) -> Page:
        """All rows of a read that has few."""
        found: list[list[bytes | None]] = []
        now_s = 0
        for page in self.pages(statement, values, 5000):
            found += page.rows
            now_s = page.now_s
        return Page(found, now_s)


def _sole_host_id(session: Session) -> bytes | None:
    if session.execute("SELECT peer FROM system.peers LIMIT 1").one() is not None:
        return None
    found = session.execute("SELECT host_id FROM system.local").one()
    host_id: bytes = found[0].bytes
    return host_id
