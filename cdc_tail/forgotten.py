"""What a crashed node forgot: entries of a final segment that were read behind its last marker.

Cassandra replays a log up to its last marker, which it writes every 100 ms. What it had
acknowledged since is still in the file, and was read live; nobody else will tell of it.
"""

from __future__ import annotations

import structlog

from cdc_tail.errors import SegmentError
from cdc_tail.log import error_fields
from parsers.decoder import Catalog, view_mutation
from parsers.position import Position
from parsers.segment import SegmentReader, iter_entries
from sinks.postgres.forgotten import Forgotten

log = structlog.get_logger()


def forgotten_by(reader: SegmentReader, catalog: Catalog) -> list[Forgotten]:
    """The partition updates between the last marker and what `reader` has read live.

    `reader` is at the end of its segment, beyond `durable_end`. What can't be read or decoded any
    more is told in the log.
    """
    start, end = reader.durable_end, reader.position
    found: list[Forgotten] = []
    where = {"segment": reader.path, "position": str(Position(reader.segment_id, start))}
    try:
        with SegmentReader(reader.path) as tail:
            tail.seek(start)
            for position, raw in iter_entries(tail):
                if position.offset > end:
                    break
                updates = view_mutation(raw, catalog, tail.version)
                found += [
                    Forgotten(position, ordinal, one.table, one.partition_key)
                    for ordinal, one in enumerate(updates)
                ]
    except SegmentError as error:
        log.error("what the node forgot can't be told in full", **where, **error_fields(error))
    except FileNotFoundError:
        log.error("what the node forgot can't be told, its segment is gone", **where)
    tables = sorted({str(one.table) for one in found})
    log.error(
        "the node crashed and forgot what it had acknowledged and was applied",
        **where,
        to_offset=end,
        updates=len(found),
        tables=tables,
        hint="see cdc_tail.forgotten; `cdc-tail verify --repair`; watch.read = marked prevents it",
    )
    return found
