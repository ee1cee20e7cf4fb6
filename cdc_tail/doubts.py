"""Rows that show by an assumed liveness only: Cassandra says whether they exist.

A snapshot can't tell a row that was inserted from one that was updated into being; docs/snapshot.md
has more. It shows when the last value of such a row dies: the first one stays, the other goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from cdc_tail.selecting import TableReader, as_of
from parsers.encode import Deletion, MutationEncoder, RowDelta, decoded_key, encoded_key
from parsers.schema import Table
from parsers.selected import ASSUMED_LIVENESS_US


def settled(reader: TableReader, table: Table, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Mutations that leave no doubt about the rows with these (serialized) keys.

    Raises SourceUnavailable.
    """
    mutations: list[bytes] = []
    encoder = MutationEncoder(table)
    n = len(table.partition_key)
    for serialized in keys:
        key = decoded_key(table, *serialized)
        page = reader.rows_of(key, only_first=True)
        if page.rows:
            mutations += reader.selection.mutations(page.rows, as_of(page))
            continue
        # As old as what was assumed: nothing that a log tells is touched.
        deletion = Deletion(ASSUMED_LIVENESS_US, page.now_s)
        gone = RowDelta(key[n:], (), None, deletion)
        mutations.append(encoder.encode(encoded_key([one or b"" for one in key[:n]]), [gone]))
    return mutations
