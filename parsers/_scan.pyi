from uuid import UUID

from parsers._segment import SegmentReader

def next_of_table(reader: SegmentReader, table_id: UUID) -> tuple[int, bytes] | None: ...
